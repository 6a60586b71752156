"""The tests' Elasticsearch with security: TLS by an authority of its own, and users whose roles are given.

The published build lacks what the index of API keys needs, so users stand for keys: privileges are the same.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from elasticsearch import Elasticsearch

from tests.servers.elastic import server_or_skip

ADMIN: Final = "admin"
_ROUNDS: Final = 10_000
NODE: Final = {
    "xpack.security.enabled": "true",
    "xpack.security.http.ssl.enabled": "true",
    "xpack.security.http.ssl.certificate": "node.crt",
    "xpack.security.http.ssl.key": "node.key",
}


class SecuredElasticsearch:
    """A server that takes nobody in the clear, and lets each user do what the role of that name says."""

    def __init__(self, roles: Mapping[str, object]) -> None:
        self._password = secrets.token_urlsafe(16)
        self._roles = roles
        self.server = server_or_skip(node=NODE, prepare=self._prepare)
        #: certificate of the authority that signed the node's
        self.authority = self.server.folder / "config" / "ca.crt"

    @property
    def url(self) -> str:
        return self.server.url

    def as_user(self, client: Elasticsearch, name: str) -> Elasticsearch:
        """The client, as the user with the role of that name."""
        return client.options(basic_auth=(name, self._password))

    def request(self, method: str, path: str, json: object = None) -> Any:
        """As the superuser."""
        answer = httpx.request(
            method, f"{self.url}{path}", json=json, auth=(ADMIN, self._password), verify=str(self.authority),
            trust_env=False, timeout=60,
        )  # fmt: skip
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:2_000]}"
        return answer.json()

    def _prepare(self, configuration: Path) -> None:
        write_certificates(configuration)
        roles = {ADMIN: "superuser", **{name: name for name in self._roles}}
        users = [f"{name}:{_hashed(self._password)}\n" for name in roles]
        (configuration / "users").write_text("".join(users), encoding="utf-8")
        (configuration / "users_roles").write_text(
            "".join(f"{role}:{name}\n" for name, role in roles.items()), encoding="utf-8"
        )
        (configuration / "roles.yml").write_text(yaml.safe_dump(dict(self._roles)), encoding="utf-8")


def write_certificates(folder: Path) -> None:
    """An authority (ca.crt), and the certificate and key of a node at 127.0.0.1 (node.crt, node.key)."""
    authority_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Driftgate test authority", authority_key, None, authority_key)
    node = _certificate("127.0.0.1", node_key, authority, authority_key)
    (folder / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "node.crt").write_bytes(node.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "node.key").write_bytes(node_key.private_bytes(*plain))


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(
        issuer.subject if issuer else subject, subject, key.public_key(), x509.random_serial_number(),
        now - timedelta(minutes=5), now + timedelta(days=1),
    )  # fmt: skip
    if issuer is None:
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    else:
        at = x509.IPAddress(ipaddress.ip_address(name))
        built = built.add_extension(x509.SubjectAlternativeName([at]), critical=False)
    return built.sign(signer, hashes.SHA256())


def _hashed(password: str) -> str:
    """As Elasticsearch keeps passwords in files: PBKDF2 with HMAC-SHA512."""
    salt = secrets.token_bytes(32)
    derived = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 32)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"
