"""Makes every secret that is not there yet, each readable by the one account that needs it.

    python make_secrets.py FOLDER

Below FOLDER there is a folder for each reader. What is there stays as it is, so that it may run at every start.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: accounts of the images
POSTGRES, ELASTIC, DRIFTGATE = 999, 1000, 10001
DATABASE_URL: Final = "postgresql+psycopg://driftgate:{password}@postgres:5432/driftgate"


@dataclass(frozen=True)
class Secret:
    """A file that one account reads. `copy_of` names the secret that it says too; `form` is how."""

    file: str
    reader: int
    copy_of: str | None = None
    form: str = "{password}"


SECRETS: Final = (
    Secret("elastic/password", ELASTIC),
    Secret("setup/elastic_password", DRIFTGATE, copy_of="elastic/password"),
    Secret("kibana/password", ELASTIC),
    Secret("setup/kibana_password", DRIFTGATE, copy_of="kibana/password"),
    Secret("kibana/security_key", ELASTIC),
    Secret("kibana/objects_key", ELASTIC),
    Secret("kibana/reporting_key", ELASTIC),
    Secret("postgres/password", POSTGRES),
    Secret("app/controlplane_database_url", DRIFTGATE, copy_of="postgres/password", form=DATABASE_URL),
)
#: readers whose secrets are made later, by grant.py
EMPTY: Final = ("ship", "logstash")


def make(folder: Path, own: bool = True) -> Iterator[str]:
    """Make what is missing; yields the name of each. `own` gives each file to its reader, which only root may do."""
    for secret in SECRETS:
        path = folder / secret.file
        if path.exists():
            continue
        said = (folder / secret.copy_of).read_text() if secret.copy_of else secrets.token_hex(32)
        _write(path, secret.form.format(password=said), secret.reader if own else None)
        yield secret.file
    for name in (*EMPTY, "app", "setup"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        if own:
            os.chown(folder / name, DRIFTGATE, DRIFTGATE)


def _write(path: Path, said: str, reader: int | None) -> None:
    """Whole or not at all: a process that is killed here leaves no half secret."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as file:
        file.write(said)
        file.flush()
        os.fsync(file.fileno())
    if reader is not None:
        os.chown(partial, reader, reader)
    partial.rename(path)


if __name__ == "__main__":
    for made in make(Path(sys.argv[1])):
        print(f"made {made}")
