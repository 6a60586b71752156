"""What happened, as lines that outlive whoever wrote them: one `write` each, to a file that only grows."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Ledger:
    """Appends as one named process. A line that `note` returned from survives any SIGKILL."""

    def __init__(self, path: Path, who: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._who = who

    def note(self, what: str, **details: Any) -> None:
        """Write down that this happened just now, on the clock that all processes of the machine share."""
        entry = {"what": what, "who": self._who, "at": time.monotonic(), **details}
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")


class Reader:
    """Reads what was appended since it last looked."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""

    def new(self) -> list[Entry]:
        """Whole lines only."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [json.loads(line) for line in lines]
