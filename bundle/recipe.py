"""Loads a recipe's code from its source text, and says where in the user's file it went wrong."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
import traceback
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np

from bundle.blobs import digest_of
from bundle.columns import Columns, model_columns
from bundle.signature import Signature

FeatureFunction: TypeAlias = Callable[[Columns], Columns]
_PREFIX: Final = "driftgate_recipe"


class RecipeError(RuntimeError):
    """The user's code raised or answered wrongly; `file`, `line` and `message` say where and what."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")
        self.file = file
        self.line = line
        self.message = message

    def __reduce__(self) -> tuple[type[RecipeError], tuple[str, int | None, str]]:
        return type(self), (self.file, self.line, self.message)

    @classmethod
    def of(cls, file: str, path: str, error: BaseException, siblings: Collection[str] = ()) -> RecipeError:
        """The error with the line of the last frame that lies in the user's file.

        `siblings` are the recipe's other files: to import one of them is a mistake of its own.
        """
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == path else None
        for frame in traceback.extract_tb(error.__traceback__):
            line = frame.lineno if frame.filename == path else line
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        if isinstance(error, ModuleNotFoundError) and f"{error.name}.py" in siblings:
            text += ": the files of a recipe cannot import each other: put into each what it needs"
        return cls(file, line, f"{type(error).__name__}: {text}")


class _Loader(importlib.abc.InspectLoader):
    """Gives importlib a module whose source is a text, not a file."""

    def __init__(self, source: str, path: str) -> None:
        self._source, self._path = source, path

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_code(self, fullname: str) -> Any:  # noqa: ANN401 - a code object
        return self.source_to_code(self._source, self._path)


def load_module(source: str, file: str, siblings: Collection[str] = ()) -> ModuleType:
    """The module of a source text, executed once for each text in a process. Raises RecipeError.

    Its name carries the digest of its source, so two versions of a recipe live side by side.
    """
    digest = digest_of(source.encode())
    name = f"{_PREFIX}_{file.removesuffix('.py')}_{digest[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    path = f"<recipe {digest[:12]}>/{file}"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    spec = importlib.util.spec_from_loader(name, _Loader(source, path), origin=path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - a loader was given
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RecipeError.of(file, path, error, siblings) from error
    return module


def load_function(source: str, file: str, function: str, siblings: Collection[str] = ()) -> Callable[..., Any]:
    """A function of a recipe's file; whatever it raises comes out as RecipeError. Raises RecipeError."""
    module = load_module(source, file, siblings)
    found = getattr(module, function, None)
    if not callable(found):
        raise RecipeError(file, None, f"there is no function {function!r} in it")
    return _guarded(found, file, str(module.__file__), siblings)


def _guarded(function: Callable[..., Any], file: str, path: str, siblings: Collection[str]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:  # noqa: ANN401 - the user's function
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            raise RecipeError.of(file, path, error, siblings) from error

    return call


class Recipe:
    """The feature function of a version: raw columns in, the columns that the model sees out."""

    def __init__(
        self,
        source: str,
        function: str,
        signature: Signature,
        file: str = "features.py",
        siblings: Collection[str] = (),
    ) -> None:
        """Raises RecipeError where the source does not run or has no such function."""
        self._features: FeatureFunction = load_function(source, file, function, siblings)
        self._signature = signature
        self._file = file

    def features(self, raw: Columns) -> Columns:
        """Feature columns as the model sees them. Raises RecipeError where the function fails."""
        answer = self._features(raw)
        rows = len(next(iter(raw.values())))
        try:
            columns = model_columns(answer, self._signature)
            shapes = {name: np.shape(answer[name]) for name in columns}
        except (KeyError, TypeError, ValueError) as error:
            text = error.args[0] if error.args else error
            raise RecipeError(self._file, None, f"the features do not fit the signature: {text}") from error
        for name, shape in shapes.items():
            if shape != (rows,):
                raise RecipeError(self._file, None, f"feature {name!r}: expected {rows} values, got shape {shape}")
        return columns
