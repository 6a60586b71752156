"""The data folder: where each part of the embedded default keeps what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """One folder holds everything; the parts that move to a server elsewhere leave it."""

    root: Path

    def make(self) -> None:
        """Make the folder where there is none, open to its owner only; one that is there keeps what it lets in."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def database(self) -> Path:
        """State of record of the control plane (SQLite)."""
        return self.root / "control.db"

    @property
    def credentials(self) -> Path:
        """Tokens and the privacy key made at the first start; readable by its owner only."""
        return self.root / "credentials.json"

    @property
    def blobs(self) -> Path:
        """Version files by SHA-256."""
        return self.root / "blobs"

    @property
    def spool(self) -> Path:
        """One folder for each writer: predictions, labels and the control plane's own events, not yet shipped."""
        return self.root / "spool"

    @property
    def log_store(self) -> Path:
        """The embedded log store: Parquet segments and a manifest."""
        return self.root / "logs"

    @property
    def dead_letters(self) -> Path:
        """Events that the log store refused for good, with the reason."""
        return self.root / "dead-letters"

    @property
    def mlflow(self) -> Path:
        """MLflow's SQLite database and artifacts."""
        return self.root / "mlflow"

    @property
    def bento(self) -> Path:
        """The Bento store (BENTOML_HOME)."""
        return self.root / "bentoml"

    @property
    def serving_cache(self) -> Path:
        """What serving fetched: it starts from here when nobody answers."""
        return self.root / "serving"

    @property
    def service_logs(self) -> Path:
        """Standard output of the processes that `driftgate up` starts."""
        return self.root / "service-logs"

    def layers(self, model: str) -> Path:
        """RAW, PROCESSED, REFINED, labels and refused rows of a model."""
        return self.root / "layers" / model

    def run(self, key: str) -> Path:
        """A training run's request, progress and report."""
        return self.root / "runs" / key
