"""What must be exact about a span of predictions, in a form that adds up: counts, missing values, latencies.

A rollup of two spans is the sum of theirs, so a store keeps one for each minute and answers for any span
without reading its predictions again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

#: the bounds of two neighbouring buckets of a sketch differ by this factor, so a quantile is off by at most 2.5 %
GROWTH: Final = 1.05
#: latencies up to this are one bucket: milliseconds
LEAST_MS: Final = 0.01
#: latencies beyond are one bucket: milliseconds
MOST_MS: Final = 600_000.0
BUCKETS: Final = math.ceil(math.log(MOST_MS / LEAST_MS) / math.log(GROWTH)) + 1


def bucket_of(milliseconds: float) -> int:
    """The bucket of a latency: 0 to BUCKETS."""
    if milliseconds <= LEAST_MS:
        return 0
    if milliseconds >= MOST_MS:
        return BUCKETS
    return math.ceil(math.log(milliseconds / LEAST_MS) / math.log(GROWTH))


def upper_bound(bucket: int) -> float:
    """The largest latency of a bucket, in milliseconds."""
    return LEAST_MS * GROWTH**bucket


@dataclass(frozen=True)
class LatencySketch:
    """Latencies as counts by bucket; a quantile has a relative error of at most 2.5 % (DDSketch, Masson et al. 2019).

    >>> sketch = LatencySketch.of([1.0] * 99 + [80.0])
    >>> round(sketch.quantile(0.5), 1), sketch.count
    (1.0, 100)
    """

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> LatencySketch:
        return cls(Counter(map(bucket_of, milliseconds)))

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The latency below which this share lies, in milliseconds; None where there is none."""
        rank = max(1, math.ceil(share * self.count))
        passed = 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= rank:
                return upper_bound(bucket) / (1 + (GROWTH - 1) / 2) if bucket else LEAST_MS
        return None

    def __add__(self, other: LatencySketch) -> LatencySketch:
        return LatencySketch(Counter(self.counts) + Counter(other.counts))


@dataclass(frozen=True)
class Rollup:
    """What is exact about some predictions; neutral at its defaults."""

    rows: int = 0
    #: how many predictions lack a value, by feature; a feature that none lacks may be left out
    missing: Mapping[str, int] = field(default_factory=dict)
    latency: LatencySketch = LatencySketch()

    def __add__(self, other: Rollup) -> Rollup:
        return Rollup(
            rows=self.rows + other.rows,
            missing=Counter(self.missing) + Counter(other.missing),
            latency=self.latency + other.latency,
        )
