"""The picture of a replay tells what fired in both and what in one only, without colour, and stands for itself."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from controlplane.ui.replaylanes import as_file, lanes, line_of

SINCE, UNTIL = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 11, tzinfo=UTC)


def fired(day: int, cause: str, detail: str = "drifted") -> dict:
    return {"rule": "drifted", "cause": cause, "at": f"2021-01-{day:02}T12:00:00Z", "detail": detail}


def test_a_firing_of_both_is_another_mark_than_one_that_is_missing_in_the_other():
    both, only = fired(2, "w-1"), fired(5, "w-2", "<script>alert(1)</script>")
    told = {"since": SINCE.isoformat(), "until": UNTIL.isoformat(), "fired": [both], "would_fire": [both, only]}
    text = as_file(lanes(told))

    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "1 fired in truth, 2 in the replay" in text
    marks = [each for each in root.iter() if each.tag.endswith("polygon")]
    assert [each.get("class") for each in marks] == ["alike", "alike", "only"]
    assert [len(each.get("points").split()) for each in marks] == [4, 4, 3], "a diamond twice, then a triangle"
    assert "<script" not in text


def test_the_lane_in_characters_counts_what_fired_in_each_part():
    firings = [fired(1, "a"), fired(1, "b"), *(fired(10, str(number)) for number in range(12))]
    assert line_of(firings, SINCE, UNTIL, 10) == "2........+"
    assert line_of([], SINCE, SINCE, 3) == "..."
