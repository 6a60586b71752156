"""Where the tests' Elasticsearch comes from: unpacked once by Maven into a cache folder, run by a Java of the machine.

`python -m tests.servers.elasticsearch_distribution` unpacks it and prints where.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.java import version_of

#: what Driftgate is tested with in every run
VERSION: Final = "8.19.21"
#: what it is tested with where there is a Java for it
NEWEST_VERSION: Final = "9.4.3"
POM: Final = Path(__file__).with_name("elasticsearch.pom.xml")
_JVMS: Final = Path("/usr/lib/jvm")


class Missing(RuntimeError):
    """There is no Elasticsearch here, or no Java for it; says what to install."""


def unpacked(version: str = VERSION) -> Path:
    """The folder of the server's files; fetched by Maven the first time. Raises Missing."""
    cache = _cache()
    home = cache / f"elasticsearch-{version}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{home.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run may want it at once
            if not home.is_dir():
                _fetch(version, home)
    except OSError as error:
        raise Missing(f"no Elasticsearch {version} in {cache} ({error}): `make servers` installs it") from error
    return home


def java_for(version: str = VERSION) -> Path:
    """A JAVA_HOME that the server runs on. Raises Missing."""
    oldest = 21 if int(version.partition(".")[0]) >= 9 else 17
    for home in _javas():
        if version_of(home) >= oldest:
            return home
    raise Missing(f"Elasticsearch {version} needs Java {oldest} or later: install openjdk-{oldest}-jre-headless")


def _fetch(version: str, home: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing(f"no Elasticsearch {version} and no Maven to fetch it: `make servers` installs both")
    partial = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
    command = [maven, "-B", "-q", "-f", str(POM), f"-Dserver.version={version}", f"-Dserver.folder={partial}"]
    try:
        done = subprocess.run([*command, "initialize"], capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise Missing(f"Maven did not fetch Elasticsearch {version}: {(done.stdout + done.stderr).strip()[:2_000]}")
        partial.chmod(0o755)  # whoever runs the server is not whoever unpacked it
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cache() -> Path:
    """A folder that outlives a checkout. Root's lies where the account that runs the server can read it."""
    if os.geteuid() == 0:
        return Path("/var/cache/driftgate")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftgate"


def _javas() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java"):
        yield Path(java).resolve().parents[1]
    if home := os.environ.get("DRIFTGATE_JAVA21"):
        yield Path(home)
    yield from sorted(_JVMS.glob("*"))


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{unpacked()} on {java_for()}\n")
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        raise SystemExit(1) from missing
