"""The control plane as serving knows it: what should be loaded, the bytes by digest, and the report back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx
from pydantic import ValidationError

from bundle.blobs import BlobCorrupt, BlobStore, digest_of
from bundle.manifest import FEATURES, GOLDEN, MODEL, Manifest
from serving.desired import DesiredState
from serving.errors import ControlUnavailable, VersionUnusable
from serving.settings import Settings

#: the files that answering needs; the reference is for those who watch
NEEDED: Final = (MODEL, FEATURES, GOLDEN)
_LARGEST_BLOB: Final = 512 * 1024 * 1024


class ControlPlane:
    """Speaks with the control plane. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._instance = settings.instance
        self._etag: str | None = None
        self._client = httpx.Client(
            base_url=settings.control_url,
            headers={"Authorization": f"Bearer {settings.token.get_secret_value()}"},
            timeout=httpx.Timeout(10.0, connect=2.0),
            trust_env=False,
            follow_redirects=False,
        )

    def desired(self) -> DesiredState | None:
        """What should be loaded; None where nothing changed since last time. Raises ControlUnavailable."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        response = self._send("GET", "/api/v1/serving/desired", headers=headers)
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        try:
            desired = DesiredState.model_validate_json(_ok(response).content)
        except ValidationError as error:
            raise ControlUnavailable(f"the desired state cannot be read: {error}") from error
        self._etag = response.headers.get("ETag")
        return desired

    def blob(self, digest: str) -> bytes:
        """The bytes of that digest. Raises ControlUnavailable; VersionUnusable for other bytes or none."""
        try:
            with self._client.stream("GET", f"/api/v1/blobs/{digest}") as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    raise VersionUnusable(f"the control plane has no blob {digest}")
                data = _limited(_ok(response), digest)
        except httpx.HTTPError as error:
            raise ControlUnavailable(f"blob {digest}: {error!r}") from error
        if digest_of(data) != digest:
            raise VersionUnusable(f"blob {digest} came with other bytes: its SHA-256 is {digest_of(data)}")
        return data

    def report(self, loaded: Iterable[Mapping[str, Any]], failed: Iterable[Mapping[str, Any]]) -> None:
        """Tell what is loaded and what could not be. Raises ControlUnavailable."""
        body = {"loaded": list(loaded), "failed": list(failed)}
        _ok(self._send("PUT", f"/api/v1/serving/instances/{self._instance}", json=body))

    def close(self) -> None:
        self._client.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise ControlUnavailable(f"{method} {path}: {error!r}") from error


def fetch_version(control: ControlPlane, blobs: BlobStore, digest: str) -> None:
    """Have the manifest and the files that answering needs in the store, every one verified.

    What is there already is not asked for again, so a version in the cache needs no control plane. A file
    that was damaged on disk is fetched again. Raises ControlUnavailable or VersionUnusable.
    """
    _have(control, blobs, digest)
    try:
        manifest = Manifest.read(blobs, digest)
    except ValidationError as error:
        raise VersionUnusable(f"manifest {digest} cannot be read: {error}") from error
    for name in NEEDED:
        if name not in manifest.files:
            raise VersionUnusable(f"manifest {digest} names no file {name}")
        _have(control, blobs, manifest.files[name])


def _have(control: ControlPlane, blobs: BlobStore, digest: str) -> None:
    try:
        blobs.get(digest)
    except FileNotFoundError:
        blobs.put(control.blob(digest))
    except BlobCorrupt:
        blobs.path(digest).unlink()
        blobs.put(control.blob(digest))
    except ValueError as error:
        raise VersionUnusable(str(error)) from error


def _limited(response: httpx.Response, digest: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > _LARGEST_BLOB:
            raise VersionUnusable(f"blob {digest} has more than {_LARGEST_BLOB} bytes")
        parts.append(part)
    return b"".join(parts)


def _ok(response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        raise ControlUnavailable(f"{response.request.method} {response.request.url.path}: {response.status_code}")
    return response
