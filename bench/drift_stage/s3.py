"""Error streams: rows from the change to the alarm, and rows between false alarms, beside river's detectors.

All detectors see the same streams, one row after the other. After an alarm a detector begins anew (ours keeps what it
has learned, river's do as they are made). A delay counts from the first changed row to the first alarm at or after it;
a stream without one counts as `HORIZON` rows. Rows between false alarms are all clean rows after the burn-in divided by
all alarms. A figure of late labels counts rows in the order in which their labels come, from the one on which the first
changed row is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, HDDMW

from bench.form import Claim
from observability.monitors.errors.rising import ErrorStream, StreamState
from observability.monitors.settings import ErrorSettings

Rows: TypeAlias = npt.NDArray[np.bool_]
#: takes a stream, whose first `BURN_IN` rows are known to be usual, and says at which rows after them it alarmed
Detector: TypeAlias = Callable[[Rows], list[int]]

#: of the scored runs; while it was written the parts ran on DEV
SEED: Final = 30_001
DEV: Final = 7
RATE: Final = 0.2
BURN_IN: Final = 2_000
CHANGE_AFTER: Final = 1_000
#: rows after the change
HORIZON: Final = 4_000
CLEAN_ROWS: Final = 30_000
#: streams with a change and clean ones: of our own, of a rival, and of the one that needs a millisecond a row
STREAMS: Final = {True: (1_000, 200), False: (200, 40)}
RIVAL_STREAMS: Final = {True: (100, 20), False: (20, 2)}
SLOW_STREAMS: Final = {True: (20, 3), False: (2, 1)}
#: other usual rates beside what they rise to
OTHERS: Final = ((0.02, 0.04), (0.02, 0.08), (0.5, 0.6), (0.5, 0.7))
#: mean rows until the label of a right and of a wrong answer is there
LABEL_DELAYS: Final = (200.0, 600.0)


def run(full: bool) -> tuple[dict[str, float], list[Claim]]:
    changed, clean = STREAMS[full]
    figures = {
        "s3_delay_30": _delay(ours, RATE, 0.3, changed),
        "s3_delay_40": _delay(ours, RATE, 0.4, changed),
        "s3_arl0": _between_alarms(ours, RATE, clean),
    }
    claims = [
        Claim.of("S3 median rows until an error of .2 that rises to .3 is found", figures["s3_delay_30"], "<=", 200),
        Claim.of("S3 median rows until an error of .2 that rises to .4 is found", figures["s3_delay_40"], "<=", 70),
        Claim.of("S3 mean rows between false alarms", figures["s3_arl0"], ">=", 10_000),
    ]
    return figures | _other_rates(full) | _late_labels(full) | _rivals(full), claims


def ours(stream: Rows) -> list[int]:
    """The detector as it ships."""
    detector = ErrorStream(ErrorSettings().rows_between_false_alarms)
    state = detector.learn(StreamState(), stream[:BURN_IN])
    return [alarm.row for alarm in detector.update(state, stream[BURN_IN:])[1]]


class OfRiver(Protocol):
    """What river's detectors have in common."""

    @property
    def drift_detected(self) -> bool: ...
    def update(self, x: Any) -> Any: ...


def rival(make: Callable[[], OfRiver]) -> Detector:
    """One of river's with its own defaults; what it says in the burn-in does not count."""

    def alarms(stream: Rows) -> list[int]:
        detector, found = make(), []
        for row, wrong in enumerate(stream.tolist()):
            detector.update(wrong)
            if detector.drift_detected and row >= BURN_IN:
                found.append(row - BURN_IN)
        return found

    return alarms


def _rivals(full: bool) -> dict[str, float]:
    figures: dict[str, float] = {}
    makers: dict[str, Callable[[], OfRiver]] = {
        "adwin": ADWIN,
        "page_hinkley": PageHinkley,
        "ddm": DDM,
        "hddm_w": HDDMW,
    }
    detectors = {name: (rival(make), RIVAL_STREAMS[full]) for name, make in makers.items()}
    detectors["kswin"] = (rival(lambda: KSWIN(seed=SEED)), SLOW_STREAMS[full])
    for name, (detector, (changed, clean)) in detectors.items():
        figures |= {
            f"s3_{name}_delay_30": _delay(detector, RATE, 0.3, changed),
            f"s3_{name}_delay_40": _delay(detector, RATE, 0.4, changed),
            f"s3_{name}_arl0": _between_alarms(detector, RATE, clean),
            f"s3_{name}_streams": float(changed),
            f"s3_{name}_clean_streams": float(clean),
        }
    return figures


def _other_rates(full: bool) -> dict[str, float]:
    changed, clean = (size // 4 for size in STREAMS[full])
    figures = {f"s3_delay_from_{old}_to_{new}": _delay(ours, old, new, changed) for old, new in OTHERS}
    return figures | {
        f"s3_arl0_of_{rate}": _between_alarms(ours, rate, clean) for rate in sorted({o for o, _ in OTHERS})
    }


def _late_labels(full: bool) -> dict[str, float]:
    """The labels of wrong answers come later, and rows are taken as their labels come. Rows are counted in labels."""
    changed, clean = (size // 4 for size in STREAMS[full])
    return {
        "s3_late_delay_30": _delay(ours, RATE, 0.3, changed, late=True),
        "s3_late_delay_40": _delay(ours, RATE, 0.4, changed, late=True),
        "s3_late_arl0": _between_alarms(ours, RATE, clean, late=True),
    }


def _delay(detector: Detector, old: float, new: float, streams: int, *, late: bool = False) -> float:
    """The median over the streams."""
    rates = np.repeat([old, new], [BURN_IN + CHANGE_AFTER, HORIZON])
    delays = []
    for stream, change in _streams(rates, streams, late):
        after = [row - change + 1 for row in detector(stream) if row >= change]
        delays.append(min(after, default=HORIZON))
    return float(np.median(delays))


def _between_alarms(detector: Detector, rate: float, streams: int, *, late: bool = False) -> float:
    """All clean rows by all alarms; by one where there is none."""
    rows = alarms = 0
    for stream, _ in _streams(np.full(BURN_IN + CLEAN_ROWS, rate), streams, late):
        rows += len(stream) - BURN_IN
        alarms += len(detector(stream))
    return rows / max(alarms, 1)


def _streams(rates: npt.NDArray[np.float64], streams: int, late: bool) -> Iterator[tuple[Rows, int]]:
    """Streams, each with the row after the burn-in from which labels of changed rows come."""
    for number in range(streams):
        rng = np.random.default_rng((SEED, number))
        wrong = rng.random(len(rates)) < rates
        if not late:
            yield wrong, CHANGE_AFTER
            continue
        arrival = np.arange(len(rates)) + rng.exponential(np.where(wrong, LABEL_DELAYS[1], LABEL_DELAYS[0]))
        order = np.argsort(arrival)[: int((arrival <= len(rates)).sum())]
        before = int(np.searchsorted(arrival[order], BURN_IN + CHANGE_AFTER))
        yield wrong[order], before - BURN_IN
