"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

#: real servers, started when the first test asks for one
pytest_plugins = [
    "tests.servers.postgres",
    "tests.servers.alertmanager",
    "tests.servers.elastic",
    "tests.servers.faulty_proxy",
]

# Machines are noisy: how long an example takes is no finding.
settings.register_profile("driftgate", deadline=None)
settings.load_profile("driftgate")
