"""Scores a request: the version in production, its rival during a rollout, and whose answer is given.

A rival is there to be measured. It may fail in any way, and take its time, at nobody's cost: what it could not
score is counted, and one that is slow is asked less often.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bundle.columns import BadRow, Columns, raw_columns
from bundle.privacy import filtered
from bundle.recipe import RecipeError
from observability.ids import turn_of
from serving.desired import Wanted
from serving.errors import Refused
from serving.requests import bad_row
from serving.slots import Loaded, Rival, Slot

Row = Mapping[str, Any]
#: a rival that took longer than this for a request rests for so many times as long: it costs at most a twentieth of
#: the time, and the requests that it is asked for still say how slow it is
SLOW_SECONDS: Final = 0.1
RESTS: Final = 19
_log = logging.getLogger("bentoml.driftgate.serving")


@dataclass(frozen=True)
class Scored:
    """What a version said of the rows of a request."""

    loaded: Loaded
    #: as its own raw fields and their privacy have them
    raw: Sequence[Row]
    features: Columns
    scores: list[float]
    predictions: list[int]
    ms: float

    @property
    def version(self) -> int:
        return self.loaded.wanted.version


@dataclass(frozen=True)
class Verdict:
    """Whose answer is given, and what the other version said; `other` is None where it could not score."""

    given: Scored
    role: str = "production"
    #: the version number of the other that was asked; None where there was none
    other_version: int | None = None
    other: Scored | None = None


@dataclass
class Record:
    """What came of asking a rival, in requests."""

    scored: int = 0
    failed: int = 0
    rested: int = 0
    rests_until: float = field(default=0.0, repr=False)

    @property
    def counts(self) -> dict[str, int]:
        return {"scored": self.scored, "failed": self.failed, "rested": self.rested}


class VersionFailed(Refused):
    """The version in production cannot answer these rows, and they are not to blame."""

    def __init__(self, loaded: Loaded, why: str) -> None:
        version = loaded.wanted.version
        super().__init__(500, "version_failed", f"version {version} cannot answer: {why}", {"version": version})


class Scoring:
    """Scores requests in the thread that answers; remembers how each rival did."""

    def __init__(self, privacy_key: bytes, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._key = privacy_key
        self._monotonic = monotonic
        self._records: dict[Wanted, Record] = {}

    def score(self, slot: Slot, rows: Sequence[Row], first_id: str) -> Verdict:
        """Whose answer is given, production being asked first. Raises Refused for rows that it cannot take.

        Where production cannot answer and its rival may stand in, the rival does.
        """
        if slot.rival is None:
            return Verdict(self._of_production(slot.production, rows))
        try:
            champion = self._of_production(slot.production, rows)
        except VersionFailed as failure:
            return self._stand_in(slot, slot.rival, rows, failure)
        asked, rival = self._of_rival(slot.rival, rows, champion.raw if slot.same_fields else None)
        if not asked:
            return Verdict(champion)
        if rival is not None and turn_of(first_id) < slot.rival.share:
            return Verdict(rival, "canary", champion.version, champion)
        return Verdict(champion, "production", slot.rival.loaded.wanted.version, rival)

    def counts(self, rival: Rival) -> dict[str, int]:
        """How many requests the rival scored, could not score, and was not asked for because it is slow."""
        return self._records.get(rival.loaded.wanted, Record()).counts

    def _stand_in(self, slot: Slot, rival: Rival, rows: Sequence[Row], failure: VersionFailed) -> Verdict:
        """The rival's answer where production failed and the rival may give it. Raises the failure otherwise."""
        scored = self._of_rival(rival, rows, None)[1] if rival.may_stand_in else None
        if scored is None:
            raise failure
        role = "canary" if rival.share > 0 else "production"
        return Verdict(scored, role, slot.production.wanted.version, None)

    def _of_production(self, loaded: Loaded, rows: Sequence[Row]) -> Scored:
        kept = [filtered(row, loaded.fields, self._key) for row in rows]
        try:
            return self._scored(loaded, kept)
        except BadRow as error:
            raise bad_row(error.row, error.field, error.message) from error
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            _log.exception("%s version %d cannot answer", loaded.wanted.model, loaded.wanted.version)
            where = "feature function" if isinstance(error, RecipeError | SystemExit) else "graph"
            raise VersionFailed(loaded, f"its {where} failed") from error

    def _of_rival(self, rival: Rival, rows: Sequence[Row], kept: Sequence[Row] | None) -> tuple[bool, Scored | None]:
        """Whether the rival was asked, and what it said. Raises nothing."""
        wanted = rival.loaded.wanted
        record = self._records.setdefault(wanted, Record())
        begun = self._monotonic()
        if begun < record.rests_until:
            record.rested += 1
            return False, None
        try:
            own = kept if kept is not None else [filtered(row, rival.loaded.fields, self._key) for row in rows]
            scored = self._scored(rival.loaded, own)
        except BaseException:  # noqa: BLE001 - whatever foreign code raises, the request goes on without it
            if not record.failed:
                _log.exception(
                    "%s version %d, a rival, cannot score; counted from now on", wanted.model, wanted.version
                )
            record.failed += 1
            return True, None
        finally:
            taken = self._monotonic() - begun
            if taken > SLOW_SECONDS:
                record.rests_until = begun + taken * (1 + RESTS)
        record.scored += 1
        return True, scored

    def _scored(self, loaded: Loaded, kept: Sequence[Row]) -> Scored:
        begun = self._monotonic()
        features, scores = loaded.scorer.score(raw_columns(kept, loaded.fields))
        answers: list[float] = scores.tolist()
        if len(answers) != len(kept) or not all(map(math.isfinite, answers)):
            raise VersionFailed(loaded, "a score is not a number")
        predictions: list[int] = loaded.scorer.answer(scores).tolist()
        return Scored(loaded, kept, features, answers, predictions, (self._monotonic() - begun) * 1000)
