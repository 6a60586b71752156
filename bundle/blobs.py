"""Files named by what is in them: the SHA-256 of the bytes is the name."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobCorrupt(RuntimeError):
    """The bytes under a digest are not the bytes that the digest names."""


def digest_of(data: bytes) -> str:
    """The name of these bytes: lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file. Raises BlobCorrupt for a link, a device or a pipe, without looking through it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BlobCorrupt(f"{path.name} is a link: delete it and fetch it again") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BlobCorrupt(f"{path.name} is no plain file: delete it and fetch it again")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


class BlobStore:
    """A folder of blobs. Writing is atomic and durable; reading verifies; nothing is ever changed in place."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises ValueError for anything but a digest: no name leaves the folder."""
        if not _DIGEST.fullmatch(digest):
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
        data = read_plain(self.path(digest))
        if digest_of(data) != digest:
            raise BlobCorrupt(f"blob {digest} holds other bytes: delete it and fetch it again")
        return data
