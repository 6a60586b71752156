"""Why a run makes no version.

    PipelineError           carries the code that the report names
      BadSource             a file cannot be read as declared
      TooFewRows            not enough labelled rows
      ConstantLabel         every label is the same
      PipelineCodeError     the user's pipeline function or the pipeline it built fails
      ParityBroken          the exported model does not answer as its original

`bundle.recipe.RecipeError` stands beside them for the user's feature function.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import ClassVar, Final

from bundle.recipe import RecipeError
from pipeline.contract.training import Failure, FailureCode

_ROOT: Final = Path(__file__).parents[1]
_OURS: Final = tuple(_ROOT / name for name in ("pipeline", "bundle", "observability"))


class PipelineError(RuntimeError):
    """A run ends without a version; the message says why and what to do."""

    code: ClassVar[FailureCode] = "crashed"


class BadSource(PipelineError):
    """A source cannot be read as the spec declares it."""

    code = "bad_source"


class TooFewRows(PipelineError):
    """There are not enough labelled rows before the cut-off."""

    code = "too_few_rows"


class ConstantLabel(PipelineError):
    """Every label is the same, so nothing can be learned."""

    code = "constant_label"


class PipelineCodeError(PipelineError):
    """The user's pipeline cannot be fitted, scored or exported."""

    code = "recipe_error"


class ParityBroken(PipelineError):
    """The exported model answers otherwise than the original."""

    code = "parity"


def failure_of(error: BaseException) -> Failure:
    """The failure that a report shows for an error.

    What an unknown error says may hold a row's contents, so the report says only which it is and where it arose.
    """
    if isinstance(error, PipelineError):
        return Failure(code=error.code, message=str(error))
    if isinstance(error, RecipeError):
        return Failure(code="recipe_error", message=str(error))
    return Failure(code="crashed", message=f"{type(error).__name__} at {_place(error)}: see stderr.log of the run")


def _place(error: BaseException) -> str:
    """The innermost line of our own code, or of any where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(Path(frame.filename).is_relative_to(folder) for folder in _OURS)]
    if not (ours or frames):
        return "an unknown place"
    frame = (ours or frames)[-1]
    path = Path(frame.filename)
    return f"{path.relative_to(_ROOT) if ours else path.name}:{frame.lineno}"
