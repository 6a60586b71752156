"""The log path under kill -9: real processes, a real store, every line accounted for."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd

from observability.embedded.store import ParquetLogStore
from observability.spool.dead_letters import DeadLetters
from observability.spool.ledger import ledger
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from tests.event_samples import MODEL, START

ROOT = Path(__file__).parents[2]
ROUNDS = 10

WRITER = """
import os, random, sys
from pathlib import Path
from observability.events import line_of
from observability.ids import new_id
from observability.spool.writer import SpoolWriter
from tests.event_samples import prediction
root, seed = Path(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)
acknowledged = os.open(root / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def line():
    name = new_id()
    return name, b"poison " + name.encode() if rng.random() < 0.01 else line_of(prediction(0, name))
with SpoolWriter(root / "spool" / "serving-0", segment_bytes=60_000) as writer:
    print("ready", flush=True)
    while True:
        lines = [line() for _ in range(rng.randint(1, 4))]
        writer.write([data for _, data in lines])
        os.write(acknowledged, "".join(name + "\\n" for name, _ in lines).encode())
        if rng.random() < 0.2:
            writer.write_durably([]).result()
"""

SHIPPER = """
import sys, threading
from pathlib import Path
from observability.spool.dead_letters import DeadLetters
from observability.embedded.store import ParquetLogStore
from observability.spool.shipper import Shipper
from observability.spool.reader import SpoolReader
root = Path(sys.argv[1])
store = ParquetLogStore(root / "logs", small_segments=4)
shipper = Shipper(SpoolReader(root / "spool"), store, DeadLetters(root / "dead"), batch_lines=150)
print("ready", flush=True)
shipper.run(threading.Event(), linger_seconds=0.01)
"""


def started(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def killed(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def stored_ids(store: ParquetLogStore) -> Iterator[str]:
    frames = list(store.predictions(MODEL, START - timedelta(days=1)))
    return iter(pd.concat(frames)["id"]) if frames else iter(())


def test_kill_9_of_writer_and_shipper_at_random_moments_leaves_no_line_twice_or_unaccounted(tmp_path):
    moments = random.Random(11)
    for number in range(ROUNDS):
        shipper = started(SHIPPER, str(tmp_path))
        writer = started(WRITER, str(tmp_path), str(number))
        first, second = moments.sample([shipper, writer], 2)
        time.sleep(moments.uniform(0.02, 0.2))
        killed(first)
        time.sleep(moments.uniform(0.0, 0.2))
        assert ledger(tmp_path / "spool").unaccounted == 0
        killed(second)
        assert ledger(tmp_path / "spool").unaccounted == 0

    reader = SpoolReader(tmp_path / "spool")
    store, letters = ParquetLogStore(tmp_path / "logs"), DeadLetters(tmp_path / "dead")
    shipper = Shipper(reader, store, letters)
    while shipper.ship_once().lines:
        pass

    book, ids = ledger(tmp_path / "spool"), list(stored_ids(store))
    dead = [letter.data.removeprefix(b"poison ").decode() for letter in letters]
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    assert (book.unaccounted, book.waiting) == (0, 0)
    assert len(acknowledged) > 2_000
    assert len(dead) > 10
    assert len(ids) == len(set(ids)) == book.indexed
    assert len(dead) == len(set(dead)) == book.dead_lettered
    assert set(acknowledged) <= set(ids) | set(dead)
    assert 0 <= book.spooled - len(acknowledged) <= 4 * ROUNDS
    assert list((tmp_path / "spool" / "serving-0").glob("*.jsonl")) == []
    reader.close()
    store.close()
