"""The versions that are loaded, and the one of each model that answers.

A request reads one reference once and ends on the version that it found, whatever happens meanwhile. A swap
replaces that reference by another: there is no moment without a version, and none with half of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bundle.scorer import Scorer
from bundle.signature import RawField
from serving.desired import DesiredState, Wanted


@dataclass(frozen=True)
class Loaded:
    """A version that can answer: its files verified, its golden rows answered as its training engine did."""

    wanted: Wanted
    scorer: Scorer

    @property
    def fields(self) -> tuple[RawField, ...]:
        return self.scorer.signature.raw


@dataclass(frozen=True)
class Slots:
    """What answers, at one instant. Immutable; a change makes another one."""

    #: models that the control plane knows
    models: frozenset[str] = frozenset()
    #: models that should have a version in service
    expected: frozenset[str] = frozenset()
    serving: Mapping[str, Loaded] = field(default_factory=lambda: MappingProxyType({}))

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
        expected = {wanted.model: wanted for wanted in desired.in_production()}
        serving: dict[str, Loaded] = {}
        for model, wanted in expected.items():
            current = self._loaded.get(wanted) or before.serving.get(model)
            if current is not None:
                serving[model] = current
        return Slots(
            models=frozenset(state.model for state in desired.models),
            expected=frozenset(expected),
            serving=MappingProxyType(serving),
        )

    def let_go(self, needed: Iterable[Wanted], monotonic: float) -> None:
        """Unload what has been neither wanted nor in service for the time that a replaced version is kept."""
        needed = set(needed)
        for wanted in list(self._loaded):
            if wanted in needed:
                self._unwanted_since.pop(wanted, None)
            elif monotonic - self._unwanted_since.setdefault(wanted, monotonic) >= self._keep:
                del self._loaded[wanted], self._unwanted_since[wanted]
