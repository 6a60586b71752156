"""The one way out to addresses that a user names: listed hosts only, and no other address than the one checked.

A name is looked up once. The connection goes to exactly that address, with the name in SNI and in the Host header, so
that a second look-up cannot lead it elsewhere. Addresses that are not on the public internet are refused, in whatever
form they are written. Redirects are not followed, proxies of the environment are not used, and what is answered is
thrown away: the caller learns the status and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpcore

from controlplane.errors import EgressRefused, NotDelivered

#: for everything together: the name, the connection, the request and the status
WHOLE_SECONDS: Final = 5.0
PORTS: Final = {"https": 443, "http": 80}
HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
#: not public whatever the Python release at hand thinks: protocol assignments, relays, benchmarks, documentation, and
#: IPv6 that carries an IPv4 address to where it leads (Teredo is in 2001::/23, 6to4 is 2002::/16)
SPECIAL: Final = tuple(
    ipaddress.ip_network(net)
    for net in (
        "192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
#: all of IPv6 that is given to hosts on the public internet; NAT64 and mapped addresses are outside of it
UNICAST: Final = ipaddress.ip_network("2000::/3")

#: host and port to addresses
Resolve = Callable[[str, int], Iterable[str]]


@dataclass(frozen=True)
class Target:
    """Where a request goes, after its URL was checked."""

    scheme: str
    host: str
    port: int
    path: str
    #: an origin that was listed as a whole: its address is what the operator wrote
    pinned: bool


@dataclass(frozen=True)
class Allowed:
    """What the operator listed: hosts with their port, over https; and whole origins with a literal address."""

    hosts: frozenset[tuple[str, int]] = frozenset()
    origins: frozenset[tuple[str, str, int]] = frozenset()

    def target(self, url: str) -> Target:
        """Where this URL leads, without asking the network. Raises EgressRefused."""
        parts = _split(url)
        scheme, host = parts.scheme, (parts.hostname or "").lower()
        port = _port(parts, url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if (scheme, host, port) in self.origins:
            return Target(scheme, host, port, path, pinned=True)
        if scheme != "https":
            raise EgressRefused(f"{host} would be called without TLS: use https", url=_shown(parts))
        if (host, port) not in self.hosts:
            raise EgressRefused(f"{host}:{port} is not in CONTROLPLANE_ALLOWED_HOSTS", url=_shown(parts))
        return Target(scheme, host, port, path, pinned=False)


def read_allowed(listed: str) -> Allowed:
    """`hooks.example.com`, `hooks.example.com:8443` or `http://127.0.0.1:9999`, with commas or spaces between.

    Raises EgressRefused for an entry that is none of these.
    """
    hosts, origins = set(), set()
    for entry in re.split(r"[,\s]+", listed.strip().lower()):
        if "://" in entry:
            origins.add(_origin(entry))
        elif entry:
            parts = _split(f"https://{entry}")
            if parts.path or parts.query or parts.hostname is None:
                raise EgressRefused(f"CONTROLPLANE_ALLOWED_HOSTS: {entry!r} is not a host")
            hosts.add((parts.hostname, _port(parts, entry)))
    return Allowed(frozenset(hosts), frozenset(origins))


def _origin(entry: str) -> tuple[str, str, int]:
    parts = _split(entry)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise EgressRefused(f"CONTROLPLANE_ALLOWED_HOSTS: {entry!r} needs an address such as 127.0.0.1") from None
    if parts.path not in ("", "/") or parts.query:
        raise EgressRefused(f"CONTROLPLANE_ALLOWED_HOSTS: {entry!r} has a path: write the origin only")
    return parts.scheme, host, _port(parts, entry)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise EgressRefused("this is not a URL") from None
    if parts.scheme not in PORTS or not url.isascii() or any(ord(letter) <= ord(" ") for letter in url):
        raise EgressRefused("only https URLs in plain ASCII are called")
    if "@" in parts.netloc or parts.fragment or not (HOST.fullmatch(host) or ":" in host):
        raise EgressRefused("a URL that is called has a host, and neither a user nor a fragment")
    return parts


def _port(parts: SplitResult, url: str) -> int:
    try:
        return parts.port or PORTS[parts.scheme]
    except ValueError:
        raise EgressRefused(f"{url!r} has no port that can be called") from None


def _shown(parts: SplitResult) -> str:
    """The origin alone: a webhook's path is often its secret."""
    return f"{parts.scheme}://{parts.netloc}"


def is_public(address: str) -> bool:
    """Whether this literal address is on the public internet, and carries no other address in it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id is not None or ip not in UNICAST):
        return False
    if any(ip in net for net in SPECIAL if net.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def look_up(host: str, port: int) -> Iterable[str]:
    """The addresses of a name, as the machine's resolver gives them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


@dataclass(frozen=True)
class Egress:
    """Posts to listed hosts. Its parts that touch the network can be replaced in tests."""

    allowed: Allowed
    resolve: Resolve = look_up
    network: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    seconds: float = WHOLE_SECONDS

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Deliver them. Raises EgressRefused before anything is sent, NotDelivered where the answer is not 2xx."""
        target = self.allowed.target(url)
        deadline = time.monotonic() + self.seconds
        address = target.host if target.pinned else self._public_address(target, deadline)
        status = self._send(target, _Pinned(self.network, address, deadline), body, headers)
        if not 200 <= status < 300:
            down = status >= 500 or status in (404, 408, 410, 429)
            raise NotDelivered(f"{target.host} answered {status}", status=status, down=down)

    def _public_address(self, target: Target, deadline: float) -> str:
        addresses = list(self._looked_up(target, deadline))
        private = [address for address in addresses if not is_public(address)]
        if private or not addresses:
            raise EgressRefused(f"{target.host} is at {', '.join(private) or 'no address'}, which is not public")
        return addresses[0]

    def _looked_up(self, target: Target, deadline: float) -> Iterable[str]:
        """In a thread of its own: a resolver has no time-out."""
        found: list[str] = []
        failed: list[OSError | UnicodeError] = []

        def ask() -> None:
            try:
                found.extend(self.resolve(target.host, target.port))
            except (OSError, UnicodeError) as error:
                failed.append(error)

        asking = threading.Thread(target=ask, daemon=True, name=f"look up {target.host}")
        asking.start()
        asking.join(max(0.0, deadline - time.monotonic()))
        if asking.is_alive() or failed:
            raise NotDelivered(f"{target.host} could not be looked up: {failed[0] if failed else 'no answer in time'}")
        return found

    def _send(self, target: Target, network: _Pinned, body: bytes, headers: Mapping[str, str]) -> int:
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = httpcore.URL(scheme=target.scheme, host=host, port=target.port, target=target.path)
        # one for each request: it has no default headers, no proxies, no redirects, and keeps nothing open
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self.tls, network_backend=network) as pool,
                pool.stream("POST", url, headers=_headers(target, body, headers), content=body) as answer,
            ):
                return answer.status
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise NotDelivered(f"{target.host} did not answer: {type(error).__name__} {error}") from error


def _headers(target: Target, body: bytes, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    name = f"[{target.host}]" if ":" in target.host else target.host
    host = name if target.port == PORTS[target.scheme] else f"{name}:{target.port}"
    own = {"Host": host, "Content-Length": str(len(body)), "Connection": "close"}
    return [*own.items(), *headers.items()]


class _Pinned(httpcore.NetworkBackend):
    """Connects to one address, whatever it is asked for, and has one deadline for all that follows."""

    def __init__(self, network: httpcore.NetworkBackend, address: str, deadline: float) -> None:
        self._network = network
        self._address = address
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._network.connect_tcp(self._address, port, left(self._deadline), local_address, socket_options)
        return _Hurried(stream, self._deadline)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise EgressRefused("sockets of this machine are not called")


class _Hurried(httpcore.NetworkStream):
    """A stream whose every step gets what is left until the deadline: an answer in drops does not take for ever."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Hurried(self._stream.start_tls(ssl_context, server_hostname, left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._stream.get_extra_info(info)


def left(deadline: float) -> float:
    """Seconds until the deadline. Raises httpcore.ConnectTimeout when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ConnectTimeout("it took too long")
    return seconds
