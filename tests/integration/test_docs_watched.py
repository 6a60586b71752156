"""The code by which the guide has a model watched that is served elsewhere does so."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from tests.controlplane_world import START, spec
from tests.watched_world import Elsewhere

GUIDE = Path(__file__).parents[2] / "docs" / "bring-your-own-model.md"
FEATURES = [{"name": "plan", "type": "categorical"}, {"name": "spend", "type": "numeric"}]


def shown() -> str:
    _, section = GUIDE.read_text(encoding="utf-8").split("## Watch a model that is served elsewhere\n")
    return "\n".join(textwrap.dedent(line) if line[4:5] != " " else line[4:] for line in section.splitlines()
                     if line.startswith("    ") and not line.startswith("    driftgate "))  # fmt: skip


def test_the_guide_posts_a_table_and_can_be_run_again(tmp_path, monkeypatch):
    world = Elsewhere(tmp_path)
    world.store.apply_model(spec([], model="default/churn", features=FEATURES, entry=None, monitors=[]), {}, START)
    rng, rows = np.random.default_rng(5), 1500
    table = pd.DataFrame(
        {"id": [f"c{row}" for row in range(rows)], "at": pd.date_range(START, periods=rows, freq="min"),
         "plan": rng.choice(["basic", "pro"], rows), "spend": rng.normal(10, 1, rows), "score": rng.random(rows),
         "left": rng.integers(0, 2, rows)}
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    table.to_parquet("reference.parquet")
    table.to_parquet("answered.parquet")
    for _ in range(2):
        exec(shown(), {"pd": pd, "client": world.api})  # noqa: S102 - the page's own code
        world.ship()
    assert [each.number for each in world.store.versions("default/churn")] == [1]
    assert sum(len(each) for each in world.logs.labels("default/churn", START)) == rows
