"""A crash between promotion and reload costs no caller an answer: real processes, real SIGKILL.

`python -m bench.promotions [--short | --full]`. A real control plane on SQLite, in which only training is played, and
two real serving processes behind a small round-robin proxy, under 50 requests a second. Versions go to production one
after the other, and at five points of the way a process is killed and started anew. Between them come versions that
fail their golden rows: the one in production goes on.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from bench.form import Claim, show
from bench.promotions_stage.traffic import Counted, Traffic
from bundle.blobs import BlobStore
from bundle.home import Home
from controlplane.access.credentials import Credentials, ensure_credentials
from controlplane.lifecycle import VersionState
from controlplane.loop.triggers import ask
from controlplane.store import Store, open_engine
from controlplane.tables import Version
from observability.ids import new_id
from pipeline.contract.training import DatasetManifest, Made, Parity
from tests.controlplane_world import RECIPE, START, gate_blob, spec
from tests.serving_harness import ServingProcess, free_port, wait_until
from tests.versions import MODEL_ID, ROWS, make_version

PER_SECOND: Final = 50
#: promotions, and loads that fail
SIZES: Final = {"short": (4, 2), "default": (40, 20), "full": (200, 100)}
#: who is killed when; after each the process starts anew
POINTS: Final = (
    ("serving", "loading"), None, ("control", "loading"), ("serving", "promoted"), None, ("control", "promoted"),
    ("serving", "converged"),
)  # fmt: skip
_ROOT: Final = Path(__file__).parents[1]
_PATIENCE: Final = 60.0


class Control:
    """The control plane's process."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        given = {"CONTROLPLANE_HOME": str(self._home.root), "CONTROLPLANE_PORT": str(self._port)}
        given |= {"CONTROLPLANE_TICK": "1s", "PYTHONPATH": str(_ROOT)}
        with (self._home.root / "control.log").open("ab") as log:
            command = [sys.executable, "-m", "bench.promotions_stage.control"]
            self.process = subprocess.Popen(command, env=os.environ | given, cwd=_ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def wait_ready(self) -> None:
        wait_until(lambda: self._answers(), f"the control plane answers\n{self._home.root}", _PATIENCE)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url + "/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


class Stage:
    """A control plane, a fleet of two, and the hand that makes versions and kills."""

    def __init__(self, home: Home, control: Control, fleet: Sequence[ServingProcess], store: Store, token: str) -> None:
        self._home, self._control, self.fleet, self._store, self._token = home, control, fleet, store, token
        self._blobs = BlobStore(home.blobs)
        self._made = 0
        self.kills = 0
        self.converged: list[float] = []
        self.kept_old = 0

    def promote(self, point: tuple[str, str] | None) -> None:
        """Bring a new version to production and wait until both instances answer with it; kill once on the way."""
        key = self._ask(good=True)
        self._wait(key, VersionState.STAGING, VersionState.PRODUCTION)
        self._kill(point, "loading")
        version = self._wait(key, VersionState.PRODUCTION)
        self._kill(point, "promoted")
        wait_until(lambda: self._all_answer_with(version.number), f"both answer with {version.number}", _PATIENCE)
        assert version.promoted_recorded_at is not None
        self.converged.append((datetime.now(UTC) - version.promoted_recorded_at).total_seconds())
        self._kill(point, "converged")
        for process in self.fleet:
            process.wait_ready(seconds=_PATIENCE)
        self._control.wait_ready()

    def fail_a_load(self) -> None:
        """Stage a version that does not answer its golden rows; the one in production should go on."""
        before = self._in_production()
        self._wait(self._ask(good=False), VersionState.REJECTED)
        self.kept_old += self._in_production() == before and self._all_answer_with(before)

    def promoted(self) -> set[int]:
        """Every version that ever was in production."""
        return {each.number for each in self._store.versions(MODEL_ID, 10_000) if each.first_promoted_at is not None}

    def _in_production(self) -> int:
        version = self._store.production(MODEL_ID)
        return version.number if version else 0

    def _ask(self, good: bool) -> str:
        self._made += 1
        scores = None if good else [2.0] * len(ROWS)
        manifest = make_version(self._blobs, self._made / 1_000, golden_scores=scores)
        champion = self._store.production(MODEL_ID) is not None
        partial = self._home.root / "made.partial"
        partial.write_text(made(self._blobs, manifest, champion).model_dump_json())
        partial.replace(self._home.root / "made.json")
        return ask(self._store, MODEL_ID, new_id(), "the bench asks", datetime.now(UTC)).key

    def _wait(self, key: str, *states: VersionState) -> Version:
        def found() -> Version | None:
            newest = next((each for each in self._store.versions(MODEL_ID, 3) if each.run_key == key), None)
            return newest if newest is not None and newest.state in states else None

        try:
            version: Version = wait_until(found, f"the version of run {key} is {states}", _PATIENCE)
        except AssertionError as error:
            run = self._store.run(key)
            stands = [f"{each.number} {each.state}: {each.note}" for each in self._store.versions(MODEL_ID, 3)]
            raise RuntimeError(
                f"{error}; the run {run.state} {run.failure_code} {run.failure_message}; newest {stands}"
            ) from error
        return version

    def _kill(self, point: tuple[str, str] | None, here: str) -> None:
        if point is None or point[1] != here:
            return
        victim = self._control if point[0] == "control" else self.fleet[self.kills % len(self.fleet)]
        victim.kill()
        victim.start()
        self.kills += 1

    def _all_answer_with(self, number: int) -> bool:
        return all(self._answers_with(process) == number for process in self.fleet)

    def _answers_with(self, process: ServingProcess) -> int | None:
        try:
            said = httpx.get(
                process.url + "/v1/loaded", headers={"Authorization": f"Bearer {self._token}"}, timeout=5,
                trust_env=False,
            )  # fmt: skip
        except httpx.TransportError:
            return None
        serving = said.json()["serving"] if said.is_success else []
        return int(serving[0]["version"]) if serving else None


def made(blobs: BlobStore, manifest: str, champion: bool) -> Made:
    """What a training run reports of a version that its gate will let pass."""
    dataset = DatasetManifest(
        fingerprint="f" * 64, files={}, rows=500, train_rows=400, holdout_rows=100, period=(START, START),
        train_until=START, cutoff=START, spec_digest="s", recipe_digest="r", code_version="c",
    )  # fmt: skip
    return Made(
        manifest=manifest, onnx_sha256="0" * 64, dataset=dataset, metrics={"roc_auc": 0.8}, constant={"roc_auc": 0.5},
        champion={"roc_auc": 0.7} if champion else {},
        parity=Parity(rows=100, label_mismatches=0, max_score_difference=0.0),
        gate_rows=blobs.put(gate_blob(better=True, champion=champion)), mlflow_run_id="m", mlflow_version="1",
        bento_tag="tiny:1",
    )  # fmt: skip


@contextmanager
def staged(folder: Path) -> Iterator[tuple[Stage, Credentials]]:
    """Everything running, with a first version in production."""
    home = Home(folder / "home")
    home.make()
    credentials = ensure_credentials(home.credentials)
    store = Store(open_engine(f"sqlite:///{home.database}"))
    store.apply_model(spec(rules=(), model=MODEL_ID), RECIPE, datetime.now(UTC))
    with ExitStack() as stack:
        control = Control(home)
        stack.callback(lambda: control.kill())
        control.wait_ready()
        fleet = []
        for number in (1, 2):
            token = credentials.service.get_secret_value()
            process = ServingProcess(
                folder / f"serving-{number}", control.url, token=token, instance=f"serving-{number}", poll_seconds=0.5
            )
            fleet.append(process)
            stack.callback(process.kill)
        for process in fleet:
            process.wait_ready("/healthz", _PATIENCE)
        stage = Stage(home, control, fleet, store, credentials.predict.get_secret_value())
        stage.promote(None)
        yield stage, credentials


def played(promotions: int, failures: int) -> dict[str, Any]:
    """The figures of so many promotions, with as many failed loads spread among them."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-promotions-") as folder, staged(Path(folder)) as (stage, known):
        stage.converged.clear()
        traffic = Traffic([each.url for each in stage.fleet], known.predict.get_secret_value(), PER_SECOND)
        traffic.begin()
        try:
            for turn in range(promotions):
                stage.promote(POINTS[turn % len(POINTS)])
                for _ in range(failures * turn // promotions, failures * (turn + 1) // promotions):
                    stage.fail_a_load()
        finally:
            counted = traffic.end()
        return figures(stage, counted, failures) | {"seconds": round(time.monotonic() - begun)}


def figures(stage: Stage, counted: Counted, failures: int) -> dict[str, Any]:
    ordered = sorted(stage.converged)
    for refusal in counted.refusals:
        sys.stderr.write(f"not answered: {refusal or 'by neither'}\n")
    return {
        "promotions": len(ordered),
        "kills": stage.kills,
        "requests": counted.requests,
        "non_2xx": counted.non_2xx,
        "asked_again": counted.asked_again,
        "samples": counted.samples,
        "never_ready_samples": counted.never_ready_samples,
        "converge_p50_s": round(ordered[len(ordered) // 2], 2),
        "converge_p99_s": round(ordered[math.ceil(0.99 * len(ordered)) - 1], 2),
        "failed_loads": failures,
        "failed_loads_kept_old": stage.kept_old,
        "never_promoted_but_answered": len(counted.versions - stage.promoted()),
    }


def main() -> int:
    asked = set(sys.argv[1:])
    size = "full" if "--full" in asked else "short" if "--short" in asked else "default"
    promotions, failures = SIZES[size]
    told = played(promotions, failures)
    claims = [
        Claim.of("versions brought to production", told["promotions"], ">=", promotions),
        Claim.of("requests that were not answered with 2xx through the proxy", told["non_2xx"], "==", 0),
        Claim.of("samples, ten a second, in which no instance was ready", told["never_ready_samples"], "==", 0),
        Claim.of("seconds from a promotion until both answer with it, p99", told["converge_p99_s"], "<=", 10),
        Claim.of("loads that failed and left the version in production", told["failed_loads_kept_old"], ">=", failures),
        Claim.of("versions that answered and were never promoted", told["never_promoted_but_answered"], "==", 0),
    ]
    return show("promotions", told, claims)


if __name__ == "__main__":
    sys.exit(main())
