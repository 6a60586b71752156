"""The child in which a version is loaded for the first time: `python -m serving.trial BLOBS DIGEST`.

It shuts itself in before it imports anything that reads the version, loads it, has it answer its golden rows, and says
so with the word that it was given on its standard input: code that ends the process by mistake does not say it. Code
that is out to deceive can: it runs in this very process. What keeps it from the rest of the machine is the kernel, and
what keeps it out of service is who may apply a recipe (docs/security.md).
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Final

import bundle
import observability
import serving
from serving.isolation import isolate, watch_attempts

SECONDS: Final = 120
_MEMORY: Final = 4 << 30
_FILE: Final = 1 << 20
_LIBRARIES: Final = ("site-packages", "dist-packages")


def limit() -> None:
    """No more memory, time and disk than a version needs to answer a few rows."""
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, _FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))  # the second, so that nobody raises the first again


def code_folders() -> list[Path]:
    """Where the interpreter, its libraries and our own packages lie.

    The folder around our packages, and the one in which the service was started, may hold anything: they are left out.
    """
    ours = [Path(str(package.__file__)).parent for package in (bundle, observability, serving)]
    around = {*(package.parent for package in ours), Path.cwd()}
    entries = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    libraries = [entry for entry in entries if entry not in around or entry.name in _LIBRARIES]
    return [*ours, *libraries, Path(sys.prefix), Path(sys.base_prefix), Path(os.__file__).parent]


def main(arguments: list[str]) -> int:
    """Exit code 1 and the reason on standard error where the version is not to be used."""
    root, digest = Path(arguments[0]), arguments[1]
    word = sys.stdin.readline().strip()
    visible = [*code_folders(), root]
    limit()
    held = isolate(visible)
    reason = _tried(root, digest, visible)
    if reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    sys.stdout.write(json.dumps({"word": word, "isolation": held}) + "\n")
    return 0


def _tried(root: Path, digest: str, visible: list[Path]) -> str:
    """Why the version is not to be used; nothing where it is."""
    from bundle.blobs import BlobStore  # not before this process is shut in: these load what reads the version
    from serving.errors import VersionUnusable
    from serving.proving import load_proven

    attempts = watch_attempts(visible)
    reason = ""
    try:
        load_proven(BlobStore(root), digest)
    except VersionUnusable as error:
        reason = str(error)
    return f"its code tried to {attempts[0]}" if attempts else reason


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
