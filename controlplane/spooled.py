"""The control plane's folder in the spool."""

from __future__ import annotations

from typing import Final

from bundle.home import Home
from observability.spool import SpoolWriter

FOLDER: Final = "controlplane"
SYNC_SECONDS: Final = 30.0


class SpooledLines:
    """Puts lines into `spool/controlplane`, which one process writes at a time."""

    def __init__(self, home: Home) -> None:
        self._writer = SpoolWriter(home.spool / FOLDER)

    def put(self, lines: list[bytes]) -> None:
        """Write the lines and wait until they are on the disk. Raises SpoolFull, or OSError where fsync
        failed.
        """
        self._writer.write_durably(lines).result(timeout=SYNC_SECONDS)

    def close(self) -> None:
        """Give the folder free."""
        self._writer.close()
