"""Files named by what is in them: the SHA-256 of the bytes is the name."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class BlobCorrupt(RuntimeError):
    """The bytes under a digest are not the bytes that the digest names."""


def digest_of(data: bytes) -> str:
    """The name of these bytes: lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


class BlobStore:
    """A folder of blobs. Writing is atomic and durable; reading verifies; nothing is ever changed in place."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises ValueError for anything but a digest: no name leaves the folder."""
        if not _DIGEST.match(digest):
            raise ValueError(f"not a SHA-256 digest: {digest!r}")
        return self._root / digest[:2] / digest

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest. Storing the same bytes again does nothing."""
        digest = digest_of(data)
        target = self.path(digest)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as partial:
                partial.write(data)
                partial.flush()
                os.fsync(partial.fileno())
            Path(partial.name).replace(target)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises FileNotFoundError where there are none, BlobCorrupt where they are not what was stored."""
        data = self.path(digest).read_bytes()
        if digest_of(data) != digest:
            raise BlobCorrupt(f"blob {digest} holds other bytes: delete it and fetch it again")
        return data
