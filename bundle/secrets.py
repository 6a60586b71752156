"""Where settings may come from beside the environment: files, one for each setting, as containers mount secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def secrets_folder(prefix: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that `<prefix>SECRETS` names: its file `<prefix>api_key`, in lower case, says the setting `api_key`.

    The environment wins over the files. None where no folder is named.

    >>> secrets_folder("CONTROLPLANE_", {"CONTROLPLANE_SECRETS": "/run/secrets"})
    PosixPath('/run/secrets')
    """
    named = environment.get(f"{prefix}SECRETS", "")
    return Path(named) if named else None
