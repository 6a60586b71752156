"""What one run is asked to do, and the account that its writers keep of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from observability.settings import Settings
from tests.servers.faulty_proxy import Fault

#: the share of bulk calls that each fault meets
FAULTS: Final = {
    Fault.TIMEOUT_AFTER: 0.05, Fault.TIMEOUT_BEFORE: 0.03, Fault.RESET_AFTER: 0.03, Fault.RESET_BEFORE: 0.03,
    Fault.BUSY: 0.05, Fault.BUSY_ITEMS: 0.08, Fault.UNAVAILABLE: 0.03,
}  # fmt: skip
POISON: Final = 0.01


@dataclass(frozen=True)
class Plan:
    """So many events through a spool to Elasticsearch, and what is done to the processes meanwhile."""

    folder: Path
    #: of the proxy, and of Elasticsearch itself
    proxy: str
    elasticsearch: str
    namespace: str
    #: lines written while processes die, and lines written while the store is away
    events: int
    outage_events: int
    #: how long the two take
    seconds: float
    outage_seconds: float
    #: processes that die, at least; half of them shippers at named points
    kills: int
    writers: int = 2
    batch_lines: int = 400
    segment_bytes: int = 150_000
    timeout: timedelta = timedelta(seconds=1)
    seed: int = 1

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def dead_letters(self) -> Path:
        return self.folder / "dead-letters"

    def intended(self, writer: int) -> Path:
        """Ids of lines that a writer was about to write, one a line."""
        return self.folder / f"intended-{writer}"

    def acknowledged(self, writer: int) -> Path:
        """Ids of lines that the spool has taken."""
        return self.folder / f"acknowledged-{writer}"

    def settings(self) -> Settings:
        return Settings(
            store="elasticsearch", elasticsearch_urls=(self.proxy,), elasticsearch_timeout=self.timeout,
            namespace=self.namespace,
        )  # fmt: skip
