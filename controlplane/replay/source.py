"""Where a replay's rows come from: a file, or what the recipe's own `stream.py` prepares; cut in two."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

from controlplane.errors import ControlPlaneError
from controlplane.replay.rows import ReplayRow, read_rows
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import SPEC_FILE
from pipeline.contract.stream import Stream

STREAM_FILE: Final = "stream.py"
HISTORY: Final = timedelta(weeks=5)
#: of the rows, where five weeks would leave nearly none or nearly all of them
HISTORY_SHARE: Final = 0.4
SOUND_SHARE: Final = (0.2, 0.6)


class ReplayRefused(ControlPlaneError):
    """There is nothing to replay, and why."""


@dataclass(frozen=True)
class Source:
    """A source file cut in two at `train_until`."""

    file: Path
    description: str
    onset: datetime | None
    train_until: datetime
    #: rows at or after train_until, in order
    live: Sequence[ReplayRow]
    refused: int
    #: rows without a label: they can be neither learned from nor replayed
    unlabelled: int


def recipe_folder(name: str) -> Path:
    """The folder of a recipe: a path, or the name of one that is shipped. Raises ReplayRefused."""
    path = Path(name)
    if (path / SPEC_FILE).is_file():
        return path
    shipped = find_spec("recipes")
    for root in (shipped.submodule_search_locations or []) if shipped else []:
        if (Path(root) / name / SPEC_FILE).is_file():
            return Path(root) / name
    raise ReplayRefused(f"there is no recipe {name!r}: name a folder with a {SPEC_FILE}, or tweets or flights")


def run_pipeline(module: str, home: Path, *arguments: str) -> str:
    """What a command of the pipeline printed last, from a process of its own. Raises ReplayRefused with its error."""
    command = [sys.executable, "-m", f"pipeline.{module}", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReplayRefused(done.stderr.strip())
    return done.stdout.strip().rpartition("\n")[2]


def open_source(recipe: Path, spec: ModelSpec, data: Path | None, home: Path) -> Source:
    """The rows to replay. Raises ReplayRefused with what is wrong with the file."""
    stream = _stream(recipe, data, home)
    out = home / "replay.jsonl"
    told = run_pipeline("stream", home, "--recipe", str(recipe), "--file", str(stream.file), "--out", str(out))
    rows = read_rows(out)
    if not rows:
        raise ReplayRefused(f"{stream.file}: no row has a label: there is nothing to replay")
    check_labels(stream.file, spec, rows)
    train_until = stream.train_until or default_cut(rows)
    live = [row for row in rows if row.event_time >= train_until]
    if not live:
        raise ReplayRefused(f"{stream.file}: no row is later than {train_until.isoformat()}: nothing to replay")
    known = sum(row.event_time + spec.label.horizon <= train_until for row in rows)
    check_history(spec, known, train_until)
    counts = json.loads(told)
    return Source(
        stream.file, stream.description, stream.onset, train_until, live, counts["refused"], counts["unlabelled"]
    )


def default_cut(rows: Sequence[ReplayRow]) -> datetime:
    """Five weeks after the first row, unless a stray date or a short file makes that a poor history."""
    cut = rows[0].event_time + HISTORY
    share = sum(row.event_time < cut for row in rows) / len(rows)
    least, most = SOUND_SHARE
    return cut if least <= share <= most else rows[int(len(rows) * HISTORY_SHARE)].event_time


def check_labels(file: Path, spec: ModelSpec, rows: Sequence[ReplayRow]) -> None:
    """Raises ReplayRefused where every row has the same label."""
    labels = {row.label for row in rows}
    if len(labels) == 1:
        raise ReplayRefused(
            f"{file}: the label {spec.label.name} is {labels.pop()} on all {len(rows):,} rows: a constant, there is "
            "nothing to learn. Check label.from in the spec, or take a file whose label varies"
        )


def check_history(spec: ModelSpec, rows: int, train_until: datetime) -> None:
    """Raises ReplayRefused where too few labels are known for a first training, before anything is started for it."""
    held_out = int(min(rows, spec.train.rows) * spec.train.holdout)
    before = f"{rows} labels are known by {train_until:%Y-%m-%d %H:%M}, when the history ends"
    if rows < spec.train.min_rows:
        raise ReplayRefused(f"{before}, train.min_rows asks for {spec.train.min_rows}: take a longer file or lower it")
    if held_out < spec.gate.min_rows:
        raise ReplayRefused(
            f"{before}; {held_out} of them would be held out (train.holdout {spec.train.holdout:g}) and gate.min_rows "
            f"asks for {spec.gate.min_rows}: take a longer file, or change one of the two"
        )


def _stream(recipe: Path, data: Path | None, home: Path) -> Stream:
    script = recipe / STREAM_FILE
    if not script.is_file():
        if data is None:
            raise ReplayRefused(f"{recipe} has no {STREAM_FILE}: name a file with --data")
        return Stream(data, None, None, f"rows of {data.name}")
    found = spec_from_file_location("driftgate_recipe_stream", script)
    if found is None or found.loader is None:
        raise ReplayRefused(f"{script} cannot be imported")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    try:
        prepared: Stream = module.prepare(data, home)
    except ValueError as error:
        raise ReplayRefused(str(error)) from error
    return prepared
