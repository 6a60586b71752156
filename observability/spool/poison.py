"""How many refused lines are too many: then something is misconfigured, and shipping stops before it sets all aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class TooMuchPoison(RuntimeError):
    """So many lines are refused that something is misconfigured: shipping stops, all is kept in the spool."""


@dataclass(frozen=True)
class PoisonWindow:
    """The last lines, refused or not, and how many may be refused (arroyo's DlqLimit).

    >>> PoisonWindow(share=0.5, size=4).after([True, True, False])
    PoisonWindow(share=0.5, size=4, recent=(True, True, False))
    """

    share: float = 0.05
    size: int = 1_000
    recent: tuple[bool, ...] = ()

    @property
    def saved(self) -> str:
        """The window as text, `x` for a refused line; it begins with the first of them, so mostly it is empty."""
        return "".join(".x"[refused] for refused in self.recent).lstrip(".")

    def resumed(self, saved: str) -> PoisonWindow:
        """These limits, with the lines that another shipper saw."""
        return PoisonWindow(self.share, self.size, tuple(mark == "x" for mark in saved[-self.size :]))

    def after(self, outcomes: Iterable[bool], reasons: Sequence[str] = ()) -> PoisonWindow:
        """The window after these lines. Raises TooMuchPoison where the limit was passed at any of them."""
        recent = [*self.recent, *outcomes]
        refused = 0
        for place, poison in enumerate(recent):
            refused += poison - (recent[place - self.size] if place >= self.size else False)
            if refused > self.share * self.size:
                raise TooMuchPoison(
                    f"more than {self.share:.0%} of the last {self.size} lines were refused, most often for"
                    f" {_most_frequent(reasons)}; nothing is lost, shipping stands still. Correct what writes"
                    " them, or raise OBSERVABILITY_POISON_SHARE to set them aside as dead letters"
                )
        return PoisonWindow(self.share, self.size, tuple(recent[-self.size :]))


def _most_frequent(reasons: Sequence[str]) -> str:
    common = Counter(reasons).most_common(1)
    return f"{common[0][0]!r} ({common[0][1]} times)" if common else "unknown"
