"""The reference parser of Compose files, compose-go, for the tests: built by Go, kept in a cache.

`python -m tests.servers.compose` builds it where it is not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.absence import absent

VERSION: Final = "v2.16.2"
_MODULE: Final = "github.com/compose-spec/compose-go/v2/cmd"
_BUILD_SECONDS: Final = 900


def program() -> Path:
    """Where the parser is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")
    return cache / "driftgate" / f"compose-go-{VERSION}" / "cmd"


def build() -> Path:
    """The parser, built now where it is not there. Raises RuntimeError where it cannot be."""
    path, go = program(), shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if path.exists():
        return path
    if go is None:
        raise RuntimeError("Go is missing: install it, 1.21 or later")
    environment = {**os.environ, "GOBIN": str(path.parent), "GOFLAGS": "", "CGO_ENABLED": "0"}
    command = [go, "install", f"{_MODULE}@{VERSION}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"compose-go {VERSION} cannot be built: {done.stderr[-1000:]}")
    return path


def parsed(file: Path) -> subprocess.CompletedProcess[str]:
    """What the parser says of a file. Skips where there is none, and fails on CI."""
    path = program()
    if not path.exists():
        absent("compose-go is missing: `make servers`")
    known = {"PATH": os.environ["PATH"], "HOME": str(Path.home())}
    return subprocess.run([str(path), str(file)], env=known, capture_output=True, text=True, timeout=60, check=False)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build()}\n")
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
