"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# Machines are noisy: how long an example takes is no finding.
settings.register_profile("driftgate", deadline=None)
settings.load_profile("driftgate")
