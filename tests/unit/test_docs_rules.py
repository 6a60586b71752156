"""What docs/rules.md shows works as it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from controlplane.access.hooks import secret_of, verify
from controlplane.replays import replay
from controlplane.rules.decide import Reason
from controlplane.rules.hygiene import CHECKS
from controlplane.trials import try_rule
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import read_yaml
from tests.controlplane_world import DRIFT, MODEL, START, WEEKLY, World, spec

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_rules_shown_are_valid_and_mean_what_the_comments_say():
    (text,) = blocks("yaml")
    shown = read_yaml(text)
    declared: ModelSpec = spec(shown["rules"], monitors=[WEEKLY | {"name": "recent"}], budget=shown["budget"])
    drifted, errors, monthly = declared.rules
    assert (drifted.hold.windows, drifted.hold.of, drifted.active.since) == (2, 3, time(22))
    assert errors.dry_run and errors.min_labels == 300 and monthly.timezone == "Europe/Berlin"


def test_the_sender_shown_signs_what_is_accepted():
    *_, sender = blocks("python")
    shown: dict[str, Any] = {}
    exec(sender, shown)  # noqa: S102 - the page's own code
    secret, body = secret_of(b"k" * 32, MODEL, 1), b'{"reason": "new catalogue"}'
    assert verify(secret, shown["headers"](secret, "msg_1", body), body, datetime.now(UTC)) == "msg_1"


def test_the_trial_shown_runs(tmp_path, capsys):
    world = World(tmp_path, spec([]))
    version = world.to_production()
    world.clock.advance(timedelta(hours=25))
    world.window(version.number, 0, drifted_share=1.0)
    tried, *_ = blocks("python")
    names = {"try_rule": try_rule, "store": world.store, "since": START, "now": START + timedelta(days=2)}
    exec(tried, names)  # noqa: S102 - the page's own code
    assert "RETRAIN_DRIFT" in capsys.readouterr().out


def test_the_replay_shown_runs_and_the_changes_at_the_command_line_are_the_same(tmp_path, capsys):
    world = World(tmp_path, spec([DRIFT]))
    version = world.to_production()
    world.clock.advance(timedelta(hours=25))
    world.window(version.number, 0, drifted_share=1.0)
    world.tick()
    _, shown, _ = blocks("python")
    names = {"replay": replay, "store": world.store, "since": START, "now": START + timedelta(days=2)}
    exec(shown, names)  # noqa: S102 - the page's own code
    assert "drifted 1 in truth, 1 in the replay, 1 for the same cause" in capsys.readouterr().out

    (console,) = blocks("console")
    declared = read_yaml(console.partition("changes.yaml\n")[2].partition("$")[0])
    said = replay(world.store, MODEL, declared, START, names["now"], names["now"])
    assert said.changed_rules == names["told"].changed_rules == ["drifted"]


def test_the_order_shown_is_the_order_of_the_checks():
    order = [
        "pause",
        "broken_data",
        "not_trained_here",
        "active_hours",
        "one_at_a_time",
        "cooldown",
        "budget",
        "dry_run",
    ]
    assert [check.__name__.lstrip("_") for check in CHECKS] == order
    marks = [
        "**A pause**",
        "**Broken data**",
        "**Only watched**",
        "**Active hours**",
        "**A run is active**",
        "**`cooldown`**",
        "**`budget`**",
        "**`dry_run`**",
    ]
    places = [PAGE.index(mark) for mark in marks]
    assert places == sorted(places)
    assert all(name in Reason.__members__ for name in re.findall(r"`(WAIT_\w+)`", PAGE))
