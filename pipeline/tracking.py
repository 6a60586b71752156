"""Keeps a run in MLflow: parameters, metrics, files, and the version in its registry. No model is ever loaded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from observability.durable import lock_file
from pipeline.errors import PipelineError

_EXPERIMENT: Final = "driftgate"
#: a first opening makes the tables, which takes seconds
_PATIENCE_SECONDS: Final = 120.0


class Tracking:
    """MLflow over SQLite and a folder; opening it makes both. Several runs may open it at once."""

    def __init__(self, root: Path) -> None:
        """Raises PipelineError where MLflow cannot be opened."""
        root.mkdir(parents=True, exist_ok=True)
        for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
            os.environ[name] = "true"
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._root, self._upstream = root, MlflowException
        uri = f"sqlite:///{root / 'mlflow.db'}"
        try:
            with self._alone():
                self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                self._experiment = self._experiment_at((root / "artifacts").as_uri())
        except MlflowException as error:
            raise PipelineError(f"MLflow at {root} cannot be opened: {error}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time makes tables and names: MLflow itself does not keep two apart."""
        lock = lock_file(self._root / ".lock", _PATIENCE_SECONDS)
        if lock is None:
            raise PipelineError(
                f"MLflow at {self._root} is held by another run for more than {_PATIENCE_SECONDS:.0f} s"
            )
        try:
            yield
        finally:
            os.close(lock)

    def _experiment_at(self, artifacts: str) -> str:
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        if found is None:
            with self._already_there_is_well():
                return str(self._client.create_experiment(_EXPERIMENT, artifacts))
            found = self._client.get_experiment_by_name(_EXPERIMENT)
        return str(found.experiment_id)

    @contextmanager
    def _already_there_is_well(self) -> Iterator[None]:
        try:
            yield
        except self._upstream as error:
            if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                raise

    def record(
        self,
        model: str,
        key: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
    ) -> tuple[str, str]:
        """Keep the run and register its version. Returns MLflow's run id and version. Raises PipelineError."""
        try:
            run = self._client.create_run(self._experiment, run_name=f"{model} {key}", tags={"model": model})
            run_id = str(run.info.run_id)
            self._log(run_id, parameters, metrics, files)
            name = model.replace("/", ".")
            self._ensure_model(name)
            source = f"{run.info.artifact_uri}/version"
            version = self._client.create_model_version(name, source, run_id, tags={"driftgate.key": key})
            self._client.set_terminated(run_id)
        except self._upstream as error:
            raise PipelineError(f"MLflow cannot keep the run: {error}") from error
        return run_id, str(version.version)

    def _log(
        self, run_id: str, parameters: Mapping[str, Any], metrics: Mapping[str, float], files: Mapping[str, bytes]
    ) -> None:
        from mlflow.entities import Metric, Param

        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(run_id, folder, "version")

    def _ensure_model(self, name: str) -> None:
        with self._alone(), self._already_there_is_well():
            if not any(found.name == name for found in self._client.search_registered_models(f"name = '{name}'")):
                self._client.create_registered_model(name)
