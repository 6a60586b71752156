"""The control plane of the night: ticks and deliveries on the database of a folder, until it is killed.

Run as `python -m tests.e2e.night_control FOLDER SETTINGS`, the settings as JSON. Its trainer takes reports from files.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import timedelta
from pathlib import Path

from bundle.blobs import BlobStore
from controlplane.alertfacts import Patience
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.scheduler import Ticker
from controlplane.notifying.assembly import open_channels
from controlplane.notifying.deliverer import Deliverer
from controlplane.replayclock import ReplayClock
from controlplane.settings import Settings
from controlplane.store import Store, open_engine
from pipeline.contract.training import TrainingReport
from tests.controlplane_world import MemoryLines

OFTEN = timedelta(milliseconds=100)


class FolderTrainer:
    """A run ends when somebody has written its report into the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, request) -> None:
        """Nothing is computed tonight."""

    def progress(self, key):
        return None

    def report(self, key):
        path = self._folder / f"{key}.json"
        return TrainingReport.model_validate_json(path.read_text()) if path.exists() else None

    def __getattr__(self, name):
        return lambda *_arguments, **_named: None


def main(folder: Path, settings: Settings) -> None:
    store = Store(open_engine(settings.database))
    reconciler = Reconciler(
        store=store, trainer=FolderTrainer(folder / "reports"), blobs=BlobStore(folder / "blobs"),
        clock=ReplayClock(store), lines=MemoryLines(), lease=timedelta(seconds=1),
        instance_silence=timedelta(hours=1), patience=Patience(monitor=None),
    )  # fmt: skip
    for channel in open_channels(settings, store):
        deliverer = Deliverer(store, channel, reconciler.owner, keep_up_seconds=1.0, lease=timedelta(seconds=12))
        Ticker(deliverer.once, OFTEN).start()
    Ticker(reconciler.tick, OFTEN).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Settings(home=Path(sys.argv[1]), **json.loads(sys.argv[2])))
