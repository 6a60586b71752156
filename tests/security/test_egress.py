"""What a user names as an address leads to listed hosts on the public internet, and nowhere else."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from controlplane.errors import EgressRefused, NotDelivered
from controlplane.notifying.egress import Egress, is_public, read_allowed

NAME = "hooks.example.com"
#: as a resolver may give them, and as people write them to get around a list of forbidden ones
ADDRESSES = (
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2001:0:7f00:1::", "fe80::1", "fe80::1%lo", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
    "2001:db8::1", "100::1",
)  # fmt: skip
SPELLINGS = (
    "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "localhost", "0",
    "localhost.",
)  # fmt: skip


class Canary:
    """A server on this machine that should never be called; answers with what it is told to."""

    def __init__(self, status: int = 200, location: str = "", drops: bool = False) -> None:
        canary, self.calls = self, []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                canary.calls.append((self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                while drops:
                    self.wfile.write(b"x" * 65536)

            do_GET = do_POST

            def log_message(self, *_arguments: object) -> None:
                pass

        self.connections = 0

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                canary.connections += 1
                return super().get_request()

            def handle_error(self, *_arguments: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@contextmanager
def canary(**answers):
    made = Canary(**answers)
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


class Wire(httpcore.MockBackend):
    """A network that remembers where it was told to connect, and whose certificate it would ask for."""

    def __init__(self) -> None:
        super().__init__([b"HTTP/1.1 204 No Content\r\n\r\n"])
        self.connected: list[tuple[str, int]] = []
        self.sent, self.names = b"", []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connected.append((host, port))
        stream, wire = super().connect_tcp(host, port), self
        plain_write = stream.write

        def start_tls(context, server_hostname=None, timeout=None):
            wire.names.append((server_hostname, context.check_hostname))
            return stream

        def write(buffer, timeout=None):
            wire.sent += buffer
            plain_write(buffer)

        stream.start_tls, stream.write = start_tls, write
        return stream


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_listed_name_that_leads_to_an_address_inside_is_refused_before_a_connection(address):
    with canary() as inside:
        egress = Egress(read_allowed(f"{NAME}:{inside.port}"), resolve=lambda _host, _port: [address])

        with pytest.raises(EgressRefused):
            egress.post(f"https://{NAME}:{inside.port}/x", b"{}", {})

        assert inside.connections == 0


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_address_in_disguise_is_refused_even_where_the_operator_listed_it(spelling):
    with canary() as inside:
        listed = Egress(read_allowed(f"{spelling.rstrip('.')}:{inside.port}"))

        for url in (f"https://{spelling}:{inside.port}/", f"http://{spelling}:{inside.port}/"):
            with pytest.raises(EgressRefused):
                listed.post(url, b"{}", {})

        assert inside.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.com/", "http://hooks.example.com/", "https://hooks.example.com:8443/", "file:///etc/passwd",
        "https://user@hooks.example.com/", "https://hooks.example.com@127.0.0.1/", "https://hooks.example.com.evil.example/",
        "https://hooks.example.com\\@127.0.0.1/", "https://hooks.example.com\r\nx: y/", "gopher://hooks.example.com/",
        "https://", "https://[::1", "https://hooks.example.com:99999/", "https://höoks.example.com/", "",
    ],
)  # fmt: skip
def test_only_listed_hosts_and_ports_are_called_and_only_over_tls(url):
    wire = Wire()

    with pytest.raises(EgressRefused):
        Egress(read_allowed(NAME), lambda _host, _port: ["93.184.216.34"], wire).post(url, b"{}", {})

    assert wire.connected == []


def test_a_name_is_looked_up_once_and_the_connection_goes_to_the_address_that_was_checked():
    wire, answers = Wire(), iter([["93.184.216.34"], ["127.0.0.1"]])
    egress = Egress(read_allowed(NAME), lambda _host, _port: next(answers), wire)

    egress.post(f"https://{NAME}/in?x=1", b"{}", {"webhook-id": "1"})

    assert wire.connected == [("93.184.216.34", 443)]
    assert wire.names == [(NAME, True)]
    head, _, body = wire.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /in?x=1 HTTP/1.1\r\nHost: hooks.example.com\r\n") and body == b"{}"


def test_one_private_address_among_public_ones_is_enough_to_refuse():
    wire = Wire()

    with pytest.raises(EgressRefused):
        Egress(read_allowed(NAME), lambda _host, _port: ["93.184.216.34", "10.0.0.1"], wire).post(
            f"https://{NAME}/", b"", {}
        )

    assert wire.connected == []


def test_a_redirect_is_not_followed():
    with canary() as inside, canary(status=307, location=f"http://127.0.0.1:{inside.port}/secret") as listed:
        egress = Egress(read_allowed(f"http://127.0.0.1:{listed.port}"))

        with pytest.raises(NotDelivered, match="307"):
            egress.post(f"http://127.0.0.1:{listed.port}/", b"{}", {})

        assert inside.connections == 0 and len(listed.calls) == 1


def test_a_whole_origin_is_allowed_in_the_clear_at_that_address_and_port_only(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with canary() as sidecar, canary() as other:
        egress = Egress(read_allowed(f"http://127.0.0.1:{sidecar.port}"))

        egress.post(f"http://127.0.0.1:{sidecar.port}/a", b"body", {"x-note": "n"})
        for url in (f"http://127.0.0.1:{other.port}/", f"http://localhost:{sidecar.port}/"):
            with pytest.raises(EgressRefused):
                egress.post(url, b"body", {})

        assert [(path, body) for path, _, body in sidecar.calls] == [("/a", b"body")]
        assert other.connections == 0


def test_an_endless_answer_is_thrown_away():
    with canary(drops=True) as listed:
        Egress(read_allowed(f"http://127.0.0.1:{listed.port}")).post(f"http://127.0.0.1:{listed.port}/", b"", {})

        assert len(listed.calls) == 1


def test_public_addresses_are_called():
    for address in ("93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"):
        assert is_public(address)


def test_a_resolver_that_does_not_answer_holds_nobody_up():
    never = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        never.wait(60)
        return []

    began = time.monotonic()
    with pytest.raises(NotDelivered, match="looked up"):
        Egress(read_allowed(NAME), resolve, Wire(), seconds=0.1).post(f"https://{NAME}/", b"", {})
    never.set()

    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "listed", ["http://relay:9999", "https://hooks.example.com/path", "a b@c", "http://127.0.0.1:1/x"]
)
def test_a_list_that_says_something_else_than_hosts_is_refused(listed):
    with pytest.raises(EgressRefused):
        read_allowed(listed)
