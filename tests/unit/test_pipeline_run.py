"""A run ends with a report, whatever happens to it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bundle.home import Home
from bundle.recipe import RecipeError
from observability.clock import SystemClock
from pipeline.contract.specfile import read_recipe
from pipeline.contract.training import TrainingReport, TrainingRequest
from pipeline.errors import ParityBroken
from pipeline.run import Stopped, processor_seconds, run

KEY = "00000000-0000-7000-8000-000000000001"
RECIPE = Path(__file__).parents[2] / "recipes" / "tweets"


@pytest.fixture
def folder(tmp_path):
    spec, sources = read_recipe(RECIPE)
    request = TrainingRequest(key=KEY, spec=spec, recipe=sources, cutoff=datetime(2021, 1, 1, tzinfo=UTC))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "request.json").write_text(request.model_dump_json(by_alias=True))
    return tmp_path / "run"


def fails_with(error):
    def make(request, folder, home, settings, progress):
        progress("ingest", "reading")
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RecipeError("features.py", 3, "KeyError: 'x'"), "recipe_error", "features.py:3: KeyError: 'x'"),
        (ParityBroken("they differ"), "parity", "they differ"),
        (Stopped(), "crashed", "stopped by a signal before it was done"),
    ],
)
def test_every_error_becomes_a_failure_with_its_code(folder, error, code, message):
    report = run(folder, Home(folder.parent), SystemClock(), fails_with(error))

    assert (report.failure.code, report.failure.message) == (code, message)
    assert TrainingReport.model_validate_json((folder / "report.json").read_bytes()) == report
    assert json.loads((folder / "progress.json").read_text())["phase"] == "ingest"


def test_what_an_unknown_error_says_stays_in_the_log(folder, caplog):
    report = run(folder, Home(folder.parent), SystemClock(), fails_with(ValueError("cannot convert 'Jane Doe'")))

    assert report.failure.code == "crashed"
    place = r"ValueError at pipeline/run\.py:\d+: see stderr\.log of the run"
    assert re.fullmatch(place, report.failure.message)
    assert "Jane Doe" in caplog.text


def test_a_run_that_has_a_report_is_not_run_again(folder):
    first = run(folder, Home(folder.parent), SystemClock(), fails_with(ParityBroken("they differ")))

    again = run(folder, Home(folder.parent), SystemClock(), fails_with(ValueError("must not run")))

    assert again == first


def test_a_run_says_what_it_and_its_children_cost_also_where_it_failed(folder):
    def burn(request, folder, home, settings, progress):
        code = "import time\nwhile time.process_time() < 0.5: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        raise RecipeError("features.py", 3, "KeyError: 'x'")

    before = processor_seconds()
    report = run(folder, Home(folder.parent), SystemClock(), burn)
    assert report.failure is not None and report.cpu_seconds >= before + 0.45
