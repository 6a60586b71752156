"""A client sends again what may be repeated, names errors as they are, and reads lists page by page."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from controlplane.client import ControlClient
from controlplane.client.connection import ATTEMPTS
from controlplane.errors import Answered, Busy, Changed, RunActive, Unreachable
from controlplane.views import RunView
from observability.ids import new_id
from tests.api_client import decision
from tests.servers.elasticsearch_secured import write_certificates

RUN = {
    "key": new_id(), "firing_id": new_id(), "model": "a/b", "state": "asked", "parent": None, "attempts": 0, "epoch": 0,
    "progress": None, "report": None, "failure_code": None, "failure_message": None, "asked_at": "2026-01-01T00:00:00Z",
    "started_at": None, "ended_at": None, "recorded_at": "2026-01-01T00:00:00Z", "ended_recorded_at": None,
}  # fmt: skip


class Wire:
    """Gives the prepared answers in turn, and remembers what was sent."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> ControlClient:
        transport = httpx.MockTransport(self)
        return ControlClient("http://control", "dg_x", transport=transport, sleep=self.slept.append)


def error(status: int, code: str, **details: object) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": "m", "details": details}})


def test_a_change_whose_answer_is_lost_is_sent_again_under_the_same_key():
    wire = Wire(httpx.ReadError("gone"), error(409, "key_busy"), error(503, "busy"), httpx.Response(202, json=RUN))
    run = wire.client().train("a/b", "why")
    assert isinstance(run, RunView) and len(wire.sent) == 4
    assert len({each.headers["idempotency-key"] for each in wire.sent}) == 1
    assert len({each.content for each in wire.sent}) == 1
    assert wire.slept == sorted(wire.slept) and len(wire.slept) == 3


def test_two_changes_have_two_keys():
    wire = Wire(httpx.Response(200, json=RUN))
    client = wire.client()
    client.cancel("a/b", "k", "why")
    client.cancel("a/b", "k", "why")
    assert len({each.headers["idempotency-key"] for each in wire.sent}) == 2


@pytest.mark.parametrize(
    ("answer", "raised", "sent"),
    [
        (error(409, "run_active", busy="x"), RunActive, 1), (error(412, "changed"), Changed, 1),
        (error(503, "busy"), Busy, ATTEMPTS), (httpx.ConnectError("no"), Unreachable, ATTEMPTS),
        (error(418, "teapot"), Answered, 1), (httpx.Response(502, text="<html>"), Answered, 1),
    ],
)  # fmt: skip
def test_an_error_is_raised_as_what_it_is_and_only_what_passes_is_tried_again(answer, raised, sent):
    wire = Wire(answer)
    with pytest.raises(raised) as caught:
        wire.client().train("a/b", "why")
    assert len(wire.sent) == sent
    if raised is RunActive:
        assert caught.value.details == {"busy": "x"}


def rows(*numbers: int) -> list[dict]:
    return [json.loads(decision(number).model_dump_json(exclude={"model"})) for number in numbers]


def test_a_list_is_read_page_by_page_and_no_further_than_asked():
    first = httpx.Response(200, json={"decisions": rows(3, 2), "next": "c1"})
    wire = Wire(first, httpx.Response(200, json={"decisions": rows(1), "next": None}))
    assert [each.detail for each in wire.client().decisions("a/b", rule="r")] == ["number 3", "number 2", "number 1"]
    assert [each.url.params.get("cursor") for each in wire.sent] == [None, "c1"]
    assert all(each.url.params["rule"] == "r" for each in wire.sent)
    wire = Wire(first)
    next(wire.client().decisions("a/b"))
    assert len(list(Wire(first).client().decisions("a/b", limit=2))) == 2 and len(wire.sent) == 1


def test_a_run_is_watched_until_it_has_ended():
    def said(state: str, tag: str) -> httpx.Response:
        return httpx.Response(200, json=RUN | {"state": state}, headers={"ETag": tag})

    wire = Wire(said("asked", '"1"'), httpx.Response(304), said("running", '"2"'), said("failed", '"3"'))
    assert [run.state for run in wire.client().watch_run("a/b", "k")] == ["asked", "running", "failed"]
    assert [each.headers.get("if-none-match") for each in wire.sent] == [None, '"1"', '"1"', '"2"']
    assert all(each.url.params["wait"] == "30.0" for each in wire.sent[1:])


def test_the_token_is_sent_to_the_control_plane_only(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert ControlClient("http://control", "dg_x")._http._trust_env is False


def test_an_authority_of_ones_own_is_trusted_where_it_is_named_and_only_there(tmp_path):
    write_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.crt", tmp_path / "node.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(Answered, match="501"):
            ControlClient(url, "dg_x", authority=tmp_path / "ca.crt").me()
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            ControlClient(url, "dg_x", sleep=lambda _: None).me()
        server.shutdown()
