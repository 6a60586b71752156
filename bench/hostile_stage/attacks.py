"""Bodies that are too large, too deep or too wide, in the pieces in which an attacker sends them."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.api.limits import limit_of
from tests.security.test_hostile_payloads import ATTACKS, PIECE, Server


@dataclass(frozen=True)
class Attack:
    """A request in pieces."""

    name: str
    framing: str
    pieces: Sequence[bytes]
    declares: int | None = None

    def decided_by(self, limit: int) -> int:
        """The piece after which a server with this limit can know that it refuses; 0 is the head."""
        if self.declares is None:
            return limit // len(PIECE) + 1
        return 0 if self.declares > limit else len(self.pieces)


def attacks() -> list[Attack]:
    """The same attacks as the test's, in pieces."""
    chunk = b"10000\r\n" + PIECE + b"\r\n"
    fields, wide = _fields(100_000), _fields(80_000)
    made = [
        Attack("10 MB declared", f"Content-Length: {160 * len(PIECE)}", [PIECE] * 160, 160 * len(PIECE)),
        Attack("10 GB declared", f"Content-Length: {10 << 30}", [PIECE], 10 << 30),
        Attack("10 MB in chunks", "Transfer-Encoding: chunked", [chunk] * 160),
        _posted("lists 10,000 deep", b"[" * 10_000 + b"]" * 10_000),
        _posted("objects 10,000 deep", b'{"rows":' * 10_000 + b"0" + b"}" * 10_000),
        _posted("100,000 fields", fields),
        _posted("a text that never ends", b'{"rows":"' + b'\\"' * 400_000),
        _posted("as many fields as are read", _fields(4_900)),
        _posted("100,000 fields in a row", b'{"rows":[' + fields + b'],"labels":[' + fields + b"]}"),
        _posted("80,000 fields in a row", b'{"rows":[' + wide + b"]}"),
    ]
    assert {each.name for each in made} == set(ATTACKS)
    return made


def _posted(name: str, body: bytes) -> Attack:
    pieces = [body[at : at + len(PIECE)] for at in range(0, len(body), len(PIECE))]
    return Attack(name, f"Content-Length: {len(body)}", pieces, len(body))


def _fields(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % number for number in range(count)) + b"}"


def refused(server: Server, target: tuple[str, str], attack: Attack) -> tuple[int, float]:
    """The status that answers, and the seconds until then: since the piece that decides was sent, or since the first
    where the answer came before that one.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        decided_by = attack.decided_by(limit_of({"method": target[0], "path": target[1]}))
        decided = time.monotonic()
        try:
            for number, piece in enumerate([server.head(target, attack.framing), *attack.pieces]):
                if number == decided_by:
                    decided = time.monotonic()
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            status = int(connection.recv(64).split()[1])
        except (ConnectionResetError, IndexError):
            status = 0
        return status, time.monotonic() - decided
