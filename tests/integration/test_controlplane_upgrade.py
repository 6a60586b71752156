"""The processes on a schema of another release."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bundle.home import Home
from controlplane.errors import SchemaBehind
from controlplane.migrations import HEAD
from controlplane.processes import run_monitor
from controlplane.settings import Settings

DUMP = Path(__file__).parents[1] / "migration" / "release_0_1_0.sql"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(Home(tmp_path).database)) as database:
        database.executescript(DUMP.read_text())
    return tmp_path


def migrate(home: Path, *options: str) -> str:
    command = [sys.executable, "-m", "controlplane", "migrate", "--home", str(home), *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_the_command_says_from_where_to_where(home):
    assert json.loads(migrate(home, "--json")) == {"from": None, "to": HEAD}
    assert json.loads(migrate(home, "--json")) == {"from": HEAD, "to": HEAD}
    assert HEAD in migrate(home)


def test_a_process_does_not_start_on_an_older_schema_where_people_migrate(home):
    with pytest.raises(SchemaBehind, match="driftgate migrate"):
        run_monitor(Settings(home=home, migrate="manual"))
