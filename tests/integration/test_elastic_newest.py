"""The newest Elasticsearch, where there is a Java for it: the same tests as on the one of every run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.elasticsearch_distribution import NEWEST_VERSION, Missing, java_for, unpacked

ROOT = Path(__file__).parents[2]
WHAT = (
    "tests/contract/test_log_store.py", "tests/integration/test_elastic_setup.py",
    "tests/integration/test_elastic_writing.py", "tests/integration/test_elastic_reading.py",
)  # fmt: skip


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_all_that_holds_on_the_usual_version_holds_on_the_newest():
    try:
        java_for(NEWEST_VERSION)
        unpacked(NEWEST_VERSION)
    except Missing as missing:
        pytest.skip(str(missing))
    command = [sys.executable, "-m", "pytest", "-q", "-k", "elastic", "-p", "no:cacheprovider", *WHAT]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "DRIFTGATE_ELASTICSEARCH": NEWEST_VERSION, "CI": "true"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
