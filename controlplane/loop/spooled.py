"""The control plane's folders in the spool: one for each process, so that replicas never wait for each other."""

from __future__ import annotations

from typing import Final

from bundle.home import Home
from observability.spool.writer import SpoolWriter

NAME: Final = "controlplane"
SYNC_SECONDS: Final = 30.0


class SpooledLines:
    """Puts lines into the first of `spool/controlplane-0`, `-1`, ... that no other living process writes."""

    def __init__(self, home: Home) -> None:
        self._writer = SpoolWriter.claim(home.spool, NAME)

    def put(self, lines: list[bytes]) -> None:
        """Write the lines and wait until they are on the disk. Raises SpoolFull, or OSError where fsync
        failed.
        """
        self._writer.write_durably(lines).result(timeout=SYNC_SECONDS)

    def close(self) -> None:
        """Give the folder free."""
        self._writer.close()
