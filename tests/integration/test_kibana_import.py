"""`driftgate kibana` against a server that answers as Kibana's API is documented to, and keeps what it was sent."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli import main
from observability.kibana.connection import Kibana, KibanaRefused, KibanaUnavailable
from observability.kibana.rules import RULES, rule_body
from observability.settings import Settings

RULE = "11111111-2222-4333-8444-555555555555"
BODY = rule_body(RULES[0], "default", "https://x/runbook")
ACTION = {"id": "mail", "group": "query matched", "params": {"to": ["a"]}, "uuid": "u"}


class StandIn:
    """Kibana's import and its rules: ids once, changes with PUT, and an answer of one's own where a test sets one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict, bytes]] = []
        self.rules: dict[str, dict] = {}
        self.objects: dict[tuple[str, str], dict] = {}
        self.instead: Callable[[str, str], tuple[int, bytes] | None] = lambda _method, _path: None
        self.refused: list[dict] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stand_in.asked.append((self.command, self.path, dict(self.headers), body))
                status, told = stand_in.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = do_PUT = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, bytes]:
        if (instead := self.instead(method, path)) is not None:
            return instead
        if method != "GET" and "kbn-xsrf" not in {name.lower() for name in headers}:
            return _json(400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."})
        path = re.sub(r"^/s/[^/]+", "", path)
        if path == "/api/saved_objects/_import?overwrite=true":
            return self._import(_file(headers, body))
        id = path.removeprefix("/api/alerting/rule/")
        return self._rule(method, id, json.loads(body) if body else {})

    def _import(self, lines: bytes) -> tuple[int, bytes]:
        sent = [json.loads(line) for line in lines.splitlines()]
        refused = {each["id"] for each in self.refused}
        taken = [each for each in sent if each["id"] not in refused]
        self.objects |= {(each["type"], each["id"]): each for each in taken}
        told = {"successCount": len(taken), "success": not self.refused, "warnings": []}
        return _json(200, told | ({"errors": self.refused} if self.refused else {}))

    def _rule(self, method: str, id: str, body: dict) -> tuple[int, bytes]:
        if method == "POST":
            if id in self.rules:
                return _json(409, {"statusCode": 409, "message": f"Saved object [alert/{id}] conflict"})
            self.rules[id] = body
        elif id not in self.rules:
            return _json(404, {"statusCode": 404, "message": f"Saved object [alert/{id}] not found"})
        elif method == "PUT":
            unknown = set(body) - {"name", "tags", "schedule", "params", "actions"}
            if unknown or any("connector_type_id" in action for action in body["actions"]):
                return _json(400, {"statusCode": 400, "message": f"definition for this key is missing: {unknown}"})
            self.rules[id] |= body
        return _json(200, {"id": id, "revision": 0, **self.rules[id]})

    def of(self, method: str) -> list[str]:
        return [path for asked, path, _, _ in self.asked if asked == method]


def _json(status: int, value: object) -> tuple[int, bytes]:
    return status, json.dumps(value).encode()


def _file(headers: dict, body: bytes) -> bytes:
    """The file of a multipart request, which Kibana takes only by a name that ends in .ndjson."""
    kind = next(value for name, value in headers.items() if name.lower() == "content-type")
    message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    (part,) = message.get_payload()
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_filename().endswith(".ndjson")
    return part.get_payload(decode=True)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


def connected(stand_in: StandIn, **settings: Any) -> Kibana:
    return Kibana(Settings(kibana_url=stand_in.url, **settings))


@dataclass
class Done:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def driftgate(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `driftgate kibana` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTROLPLANE_PUBLIC_URL", "https://driftgate.example.com")
    monkeypatch.setenv("OBSERVABILITY_KIBANA_URL", stand_in.url)
    monkeypatch.setenv("OBSERVABILITY_KIBANA_API_KEY", "c2VjcmV0")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["driftgate", "kibana", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    return run


def test_an_import_puts_everything_in_place_and_the_second_one_changes_nothing(driftgate, stand_in):
    first = driftgate("import", "--json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert (told["imported"], told["refused"]) == (len(stand_in.objects), [])
    assert set(told["rules"].values()) == {"created"} and len(stand_in.rules) == len(RULES)
    assert "https://driftgate.example.com/runbook#driftdetected" in str(stand_in.objects)
    assert {headers["Authorization"] for _, _, headers, _ in stand_in.asked} == {"ApiKey c2VjcmV0"}

    before, asked = dict(stand_in.objects), len(stand_in.asked)
    second = driftgate("import", "--json")
    assert set(json.loads(second.out)["rules"].values()) == {"unchanged"}
    assert stand_in.objects == before
    assert [method for method, *_ in stand_in.asked[asked:]] == ["POST"] + ["GET"] * len(RULES)


def test_an_import_that_was_taken_in_part_says_which_objects_were_not_and_fails(driftgate, stand_in):
    stand_in.refused = [
        {"id": "driftgate-default-fleet", "type": "dashboard", "error": {
            "type": "ambiguous_conflict", "destinations": [{"id": "a"}, {"id": "b"}]}},
        {"id": "driftgate-default-model", "type": "dashboard", "error": {
            "type": "missing_references", "references": [{"type": "index-pattern", "id": "gone"}]}},
        {"id": "driftgate-default-drift", "type": "dashboard", "error": {
            "type": "unknown", "message": "belongs to a more recent version of Kibana", "statusCode": 422}},
    ]  # fmt: skip
    done = driftgate("import")
    assert done.code == 1
    for said in ("delete all but one", "is not there", "gone", "more recent version", "rule Driftgate"):
        assert said in done.out
    assert len(stand_in.rules) == len(RULES), "what could be done was not done"


def test_a_space_is_part_of_the_address_and_the_default_one_is_not(driftgate, stand_in):
    for space, path in (("ops", "/s/ops/api/"), ("default", "/api/"), ("", "/api/")):
        assert driftgate("import", "--no-rules", "--space", space).code == 0
        assert stand_in.asked[-1][1].startswith(path) and stand_in.of("GET") == []


def test_a_rule_that_differs_is_changed_and_keeps_the_actions_and_the_state_that_people_gave_it(stand_in):
    with connected(stand_in) as kibana:
        assert kibana.put_rule(RULE, BODY) == "created"
        stand_in.rules[RULE] |= {"enabled": False, "actions": [{**ACTION, "connector_type_id": ".email"}]}
        stand_in.rules[RULE]["params"] |= {"aggType": "count", "groupBy": "all", "added": "by Kibana"}
        assert kibana.put_rule(RULE, BODY) == "unchanged"
        assert kibana.put_rule(RULE, {**BODY, "tags": ["other"]}) == "changed"
    assert stand_in.rules[RULE]["tags"] == ["other"] and stand_in.rules[RULE]["enabled"] is False
    assert stand_in.rules[RULE]["actions"] == [ACTION]


@pytest.mark.parametrize(
    ("answer", "error", "advice"),
    [
        (_json(400, {"message": "[searchType] bad"}), KibanaRefused, "of which version.*searchType"),
        (_json(401, {"message": "no"}), KibanaRefused, "OBSERVABILITY_KIBANA_API_KEY"),
        (_json(403, {"message": "no"}), KibanaRefused, "docs/kibana.md"),
        (_json(404, {"message": "Not Found"}), KibanaRefused, "_SPACE"),
        (_json(413, {"message": "long"}), KibanaRefused, "maxPayload"),
        (_json(429, {}), KibanaUnavailable, "later"),
        ((503, b"Kibana server is not ready yet"), KibanaUnavailable, "not ready.*later"),
        ((302, b""), KibanaRefused, "somewhere else"),
        ((200, b"<html>a login page</html>"), KibanaRefused, "proxy"),
        ((200, b"[]"), KibanaRefused, "proxy"),
        ((200, b"{}"), KibanaRefused, "proxy"),
        (_json(200, {"success": False}), KibanaRefused, "does not say why"),
    ],
)
def test_whatever_is_answered_instead_says_what_to_do(stand_in, answer, error, advice):
    stand_in.instead = lambda _method, _path: answer
    with connected(stand_in) as kibana, pytest.raises(error, match=f"(?s){advice}"):
        kibana.import_objects(b"{}\n")


def test_a_kibana_that_is_not_there_is_exit_code_3_and_one_without_an_address_is_1(driftgate, stand_in, monkeypatch):
    stand_in.close()
    gone = driftgate("import")
    assert gone.code == 3 and "cannot be reached" in gone.err
    monkeypatch.delenv("OBSERVABILITY_KIBANA_URL")
    nowhere = driftgate("import")
    assert nowhere.code == 1 and "OBSERVABILITY_KIBANA_URL" in nowhere.err


def test_an_authority_that_cannot_be_read_is_named_by_its_setting(stand_in, tmp_path):
    (tmp_path / "ca.crt").write_text("no certificate")
    for file in ("ca.crt", "nothing.crt"):
        with pytest.raises(KibanaRefused, match="_CA_CERT"):
            connected(stand_in, kibana_ca_cert=tmp_path / file)


def test_an_export_is_the_file_that_an_import_sends(driftgate, stand_in, tmp_path):
    done = driftgate("export", "driftgate.ndjson", "--json")
    assert done.code == 0 and json.loads(done.out)["objects"]["dashboard"] == 7
    assert driftgate("import", "--no-rules").code == 0
    sent = _file(stand_in.asked[0][2], stand_in.asked[0][3])
    assert (tmp_path / "driftgate.ndjson").read_bytes() == sent
