"""A Bento carries a version: where no control plane has said anything yet, that version answers."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Final

from bundle.blobs import BlobCorrupt, BlobStore, digest_of, read_plain
from bundle.manifest import Manifest
from serving.desired import DesiredCache, DesiredState, ModelState, TokenRef, VersionRef

MANIFEST_FILE: Final = "manifest.json"
#: the number under which it answers: no control plane has given it one
UNNUMBERED: Final = 0
_log = logging.getLogger("bentoml.driftgate.serving")


class FolderUnusable(ValueError):
    """The folder does not hold the version that its manifest names."""


def adopt(folder: Path, blobs: BlobStore, known: DesiredCache, token: str) -> bool:
    """Make the version in a folder the desired state. False where a control plane has spoken before: it knows better.

    The service's own token lets callers ask for predictions. Raises FolderUnusable.
    """
    if known.load() is not None:
        return False
    manifest, digest = _read(folder, blobs)
    model = ModelState(model=manifest.signature.model, production=VersionRef(version=UNNUMBERED, manifest=digest))
    caller = TokenRef(sha256=hashlib.sha256(token.encode()).hexdigest(), scopes=frozenset({"predict"}))
    known.save(DesiredState(models=(model,), tokens=(caller,)))
    _log.info("%s: the version in the Bento answers until a control plane says otherwise", manifest.signature.model)
    return True


def _read(folder: Path, blobs: BlobStore) -> tuple[Manifest, str]:
    try:
        encoded = read_plain(folder / MANIFEST_FILE)
        manifest = Manifest.model_validate_json(encoded)
        files = {name: read_plain(folder / name) for name in manifest.files}
    except (OSError, ValueError, BlobCorrupt) as error:
        raise FolderUnusable(f"{folder} holds no version: {error}") from error
    for name, data in files.items():
        if digest_of(data) != manifest.files[name]:
            raise FolderUnusable(f"{name} in {folder} is not what its manifest names: build the Bento again")
        blobs.put(data)
    return manifest, blobs.put(encoded)
