"""`python -m bench.logs_stage.unlogged`: `python -m serving` without the event log, for comparison only.

No line is built and none is written: what the event log costs is measured against none at all. Nobody can set this;
only the bench starts serving so.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

import serving.__main__ as start

LOGGED, UNLOGGED = "serving.service:DriftgateService", "bench.logs_stage.unlogged_service:DriftgateService"
_execute = os.execve


def _without_log(path: str, command: list[str], environment: Any) -> NoReturn:
    assert LOGGED in command
    _execute(path, [UNLOGGED if word == LOGGED else word for word in command], environment)


if __name__ == "__main__":
    os.execve = _without_log
    start.main()
