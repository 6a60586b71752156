"""One prediction through HTTP: ours, `mlflow models serve`, and Spark in every request. The same model for all.

`python -m bench.serving [--full]`. Ours is a real BentoML process with the event log on, and computes the recipe's
features from raw fields; MLflow gets ready features and logs nothing. Rounds are interleaved; medians are reported.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from bench.form import Claim, show
from bench.serving_rivals.spark_server import MODEL_ID
from bundle.blobs import BlobStore
from tests.serving_harness import TOKEN, control_plane, free_port, serving, wait_until

CALLERS: Final = (1, 32)
RIVALS: Final = ("ours", "mlflow", "spark")
_ROOT: Final = Path(__file__).parents[1]


class Rival:
    """Something that answers one request over and over."""

    def __init__(self, name: str, port: int, path: str, body: bytes) -> None:
        self.name, self.port, self.path, self.body = name, port, path, body

    def load(self, callers: int, seconds: float) -> dict[str, Any]:
        """What a load of so many callers measured, from a process of its own."""
        command = [
            sys.executable, "-m", "bench.serving_rivals.load", f"127.0.0.1:{self.port}", self.path,
            str(callers), str(seconds), TOKEN,
        ]  # fmt: skip
        done = subprocess.run(
            command, input=self.body, capture_output=True, cwd=_ROOT, timeout=seconds + 60, check=True
        )
        measured: dict[str, Any] = json.loads(done.stdout)
        if measured["failed"]:
            raise RuntimeError(f"{self.name} failed: {measured['first_failure']}")
        return measured

    def answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}{self.path}"
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
            return httpx.post(url, content=self.body, headers=headers, timeout=30, trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def process(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A server of ours that ends with all that it started."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)


def started(stack: ExitStack, folder: Path) -> dict[str, Rival]:
    """All three, answering."""
    python, spark_port, mlflow_port = sys.executable, free_port(), free_port()
    server = [python, "-m", "bench.serving_rivals.spark_server", str(folder), str(spark_port)]
    stack.enter_context(process(server, folder / "spark.log"))
    wait_until((folder / "ready").exists, f"the model is trained, see {folder / 'spark.log'}", 120)
    asked = json.loads((folder / "asked.json").read_text())
    raw, tensors = json.dumps(asked["raw"]).encode(), json.dumps(asked["mlflow"]).encode()
    serve = [python, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow-model"), "--env-manager", "local"]
    # MLflow starts `uvicorn` by its name.
    path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "PATH": path}
    stack.enter_context(process([*serve, "--port", str(mlflow_port)], folder / "mlflow.log", quiet))
    control = stack.enter_context(control_plane(BlobStore(folder / "blobs")))
    control.want("production", 1, (folder / "ready").read_text(), MODEL_ID)
    ours = stack.enter_context(serving(folder / "home", control.url, poll_seconds=0.5)).wait_ready()
    rivals = {
        "ours": Rival("ours", ours.port, f"/v1/models/{MODEL_ID}/predict", raw),
        "mlflow": Rival("mlflow", mlflow_port, "/invocations", tensors),
        "spark": Rival("spark", spark_port, "/", raw),
    }
    for rival in rivals.values():
        wait_until(rival.answers, f"{rival.name} answers, see {folder}", 60)
    return rivals


def rounds(rivals: dict[str, Rival], count: int, seconds: float) -> dict[str, float]:
    """Medians over interleaved rounds."""
    measured: dict[str, list[float]] = {}
    for _ in range(count):
        for callers in CALLERS:
            for name in RIVALS:
                for key in ("rps", "p50_ms", "p99_ms"):
                    measured.setdefault(f"{name}_{callers}_{key}", [])
                answer = rivals[name].load(callers, seconds)
                for key in ("rps", "p50_ms", "p99_ms"):
                    measured[f"{name}_{callers}_{key}"].append(answer[key])
    return {key: round(statistics.median(values), 3) for key, values in measured.items()}


def figures_of(medians: dict[str, float]) -> dict[str, float]:
    """The medians and what follows from them."""
    over_mlflow = [medians[f"ours_{callers}_rps"] / medians[f"mlflow_{callers}_rps"] for callers in CALLERS]
    return {
        "spark_median_over_ours": round(medians["spark_1_p50_ms"] / medians["ours_1_p50_ms"], 1),
        "rps_over_mlflow_serve": round(min(over_mlflow), 2),
        **medians,
    }


def main() -> int:
    full = "--full" in sys.argv[1:]
    count, seconds = (7, 10.0) if full else (3, 2.5)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder, ExitStack() as stack:
        rivals = started(stack, Path(folder))
        for rival in rivals.values():
            rival.load(1, 2.0)
        medians = rounds(rivals, count, seconds)
    figures = figures_of(medians)
    claims = [
        Claim.of("median of Spark in the request over ours, one caller", figures["spark_median_over_ours"], ">=", 50),
        Claim.of("requests a second over mlflow models serve", figures["rps_over_mlflow_serve"], ">", 1),
    ]
    return show("serving", {**figures, "rounds": count, "seconds": round(time.monotonic() - begun)}, claims)


if __name__ == "__main__":
    sys.exit(main())
