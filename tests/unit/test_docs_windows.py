"""What docs/windows.md shows works as it says."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from controlplane.loop.monitoring import VERDICTS_A_PASS
from controlplane.loop.settling import GROWTH, RECOUNTS
from observability.monitors.reference import LEAST_ROWS
from observability.windows import CountWindows, Segment, SlidingWindows, TimeWindows
from pipeline.contract.monitorspec import Monitor
from pipeline.contract.specfile import read_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "windows.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_monitors_shown_are_valid_and_of_each_kind():
    hourly, recent, day = (Monitor.model_validate(each) for each in read_yaml(blocks()[0])["monitors"])
    assert (type(hourly.window), type(recent.window), type(day.window)) == (TimeWindows, CountWindows, SlidingWindows)
    assert hourly.lateness == timedelta(minutes=10)
    segments = read_yaml(blocks()[1])["segments"]
    parts = Monitor.model_validate({"name": "m", "window": {"kind": "count", "size": 10}, "segments": segments}).samples
    assert parts == {Segment("carrier", value): 2000 for value in ("AA", "UA", "HA")}


def test_every_reference_shown_can_be_declared():
    shown = re.findall(r"^\| `(\{kind: .*?\})` ", PAGE, re.MULTILINE)
    kinds = []
    for text in shown:
        dated = text.replace("start: ...", "start: 2026-01-01T00:00:00Z").replace(
            "end: ...", "end: 2026-02-01T00:00:00Z"
        )
        declared = {"name": "m", "window": {"kind": "time", "every": "1h"}, "reference": read_yaml(f"r: {dated}")["r"]}
        kinds.append(Monitor.model_validate(declared).reference.kind)
    assert kinds == ["training", "pinned", "seasonal", "trailing"]


def test_the_numbers_told_are_those_of_the_code():
    assert f"{VERDICTS_A_PASS} verdicts of a model" in PAGE
    assert f"fewer than {LEAST_ROWS} rows" in PAGE
    assert (RECOUNTS, GROWTH) == ((1, 3), 0.1) and "one and\nthree horizons later" in PAGE and "by a tenth" in PAGE
