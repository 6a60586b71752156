"""promtool for the tests: Debian's package `prometheus` has it."""

from __future__ import annotations

import shutil
import subprocess

from tests.servers.absence import absent


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What promtool said, errors in their place. Skips where there is none, and fails on CI."""
    program = shutil.which("promtool")
    if program is None:
        absent("promtool is missing: `make servers`, or install prometheus")
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
    )
