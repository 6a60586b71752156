"""What becomes of a test whose server this machine has not: one rule for all of them."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(why: str) -> NoReturn:
    """Skip the test; in CI fail it, for there a server that is missing would hide what it should show."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
