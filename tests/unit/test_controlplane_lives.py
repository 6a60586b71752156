"""A model's past as the rule `worth` weighs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.loop.lives import lives_of

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Row:
    version: int
    number: int
    rows: int = 1_000
    labelled: int = 1_000
    sampled: int | None = 1_000
    error: dict[str, float] | None = field(default_factory=lambda: {"error": 0.2, "cost": 0.2})
    error_intervals: dict[str, Any] | None = None
    error_reference: dict[str, float] | None = field(default_factory=lambda: {"error": 0.2, "cost": 0.2})
    estimate: dict[str, float] | None = field(default_factory=lambda: {"error": 0.3, "low": 0.28, "high": 0.32})
    diagnosis: dict[str, Any] | None = None
    confidence: float | None = 0.95

    @property
    def id(self) -> str:
        return f"w-{self.number}"

    @property
    def cut_at(self) -> datetime:
        return START + timedelta(days=self.number)


@dataclass
class Gate:
    decided_at: datetime
    numbers: dict[str, float] = field(default_factory=lambda: {"error_gain": 0.01, "error_gain_se": 0.005})


def test_a_version_that_came_back_is_the_one_that_serves_now():
    lives = lives_of([Row(3, 0), Row(4, 1), Row(3, 2)], [])
    assert [life.version for life in lives] == [4, 3]
    assert [window.id for window in lives[-1].windows] == ["w-0", "w-2"]


def test_a_loss_counts_for_as_many_labels_as_it_was_measured_on():
    (life,) = lives_of([Row(1, 0, rows=1_000_000, labelled=800_000, sampled=5_000)], [])
    assert life.windows[0].labelled == 4_000


def test_estimates_and_gates_know_wrong_answers_and_are_left_out_where_an_answer_costs_something_else():
    dear = {"error": 0.2, "cost": 0.6}
    gates = [Gate(START + timedelta(days=1, hours=1))]
    (same,) = lives_of([Row(1, 0), Row(1, 1, error=None)], gates)
    (other,) = lives_of([Row(1, 0, error=dear), Row(1, 1, error=None)], gates)
    assert (same.windows[1].estimated, len(same.trials)) == (0.3, 1)
    assert (other.windows[0].loss, other.windows[1].estimated, other.trials) == (0.6, None, ())


def test_what_a_bug_cost_is_nobodys_loss():
    (life,) = lives_of([Row(1, 0), Row(1, 1, diagnosis={"cause": "bug"})], [])
    assert (life.windows[1].loss, life.windows[1].estimated) == (None, None)
