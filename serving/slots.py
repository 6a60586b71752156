"""The versions that are loaded, and the one of each model that answers.

A request reads one reference once, production and rival together, and ends on what it found, whatever happens
meanwhile. A swap replaces that reference by another: there is no moment without a version, and none with half of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from bundle.scorer import Scorer
from bundle.signature import RawField
from serving.desired import DesiredState, ModelState, Wanted


@dataclass(frozen=True)
class Loaded:
    """A version that can answer: its files verified, its golden rows answered as its training engine did."""

    wanted: Wanted
    scorer: Scorer

    @property
    def fields(self) -> tuple[RawField, ...]:
        return self.scorer.signature.raw


@dataclass(frozen=True)
class Rival:
    """The version that scores the rows of a request beside the one in production."""

    loaded: Loaded
    #: of the requests, so many are answered by it
    share: float = 0.0
    #: whether it was in production before
    promoted: bool = False

    @property
    def may_stand_in(self) -> bool:
        """Whether callers may be told its answers: one that only shadows was promoted by nobody."""
        return self.promoted or self.share > 0


@dataclass(frozen=True)
class Slot:
    """What answers for a model: the version in production, and its rival during a rollout."""

    production: Loaded
    rival: Rival | None = None

    @cached_property
    def same_fields(self) -> bool:
        """Whether a row that was read for production is read for the rival."""
        return self.rival is not None and self.rival.loaded.fields == self.production.fields


@dataclass(frozen=True)
class Slots:
    """What answers, at one instant. Immutable; a change makes another one."""

    #: models that the control plane knows
    models: frozenset[str] = frozenset()
    #: models that should have a version in service
    expected: frozenset[str] = frozenset()
    serving: Mapping[str, Slot] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ready(self) -> bool:
        """Every model that should answer has a promoted version that does.

        While a swap is under way, or has failed, that is the version before.
        """
        return self.expected <= self.serving.keys()


class Shelf:
    """Every loaded version, and which to let go. Used by one thread."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep = keep_seconds
        self._loaded: dict[Wanted, Loaded] = {}
        self._unwanted_since: dict[Wanted, float] = {}

    def __contains__(self, wanted: Wanted) -> bool:
        return wanted in self._loaded

    def __iter__(self) -> Iterator[Wanted]:
        return iter(sorted(self._loaded))

    def add(self, loaded: Loaded) -> None:
        self._loaded[loaded.wanted] = loaded

    def arrange(self, desired: DesiredState, before: Slots) -> Slots:
        """The slots that follow: the desired version where it is loaded, else the one that did before."""
        serving: dict[str, Slot] = {}
        for state in desired.models:
            if state.production is None:
                continue
            current = self._loaded.get(Wanted.of(state.model, state.production))
            if current is not None:
                serving[state.model] = Slot(current, self._rival(state))
            elif state.model in before.serving:
                serving[state.model] = Slot(before.serving[state.model].production)
        return Slots(
            models=frozenset(state.model for state in desired.models),
            expected=frozenset(wanted.model for wanted in desired.in_production()),
            serving=MappingProxyType(serving),
        )

    def _rival(self, state: ModelState) -> Rival | None:
        """The rival where it is loaded; production waits for none."""
        if state.rival is None or (loaded := self._loaded.get(Wanted.of(state.model, state.rival))) is None:
            return None
        return Rival(loaded, state.rival.share, state.rival.promoted)

    def let_go(self, needed: Iterable[Wanted], monotonic: float) -> None:
        """Unload what has been neither wanted nor in service for the time that a replaced version is kept."""
        needed = set(needed)
        for wanted in list(self._loaded):
            if wanted in needed:
                self._unwanted_since.pop(wanted, None)
            elif monotonic - self._unwanted_since.setdefault(wanted, monotonic) >= self._keep:
                del self._loaded[wanted], self._unwanted_since[wanted]
