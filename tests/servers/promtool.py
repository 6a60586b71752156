"""promtool for the tests: Debian's package `prometheus` has it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What promtool said, errors in their place. Skips where there is none, and fails on CI."""
    program = shutil.which("promtool")
    if program is None:
        missing = "promtool is missing: `make servers`, or install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
    )
