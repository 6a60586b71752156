"""A process's log: one form, the id of the request, no secret, and the same lines in the spool, where nobody waits."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.access.tokens import mint, new_token
from observability.events import ServiceEvent, parse
from observability.spool.writer import SpoolFull, SpoolTaken, SpoolWriter, segments_of
from observability.telemetry.logs import set_up_logging
from observability.telemetry.requests import REQUEST_ID, Named
from observability.telemetry.secrets import without_secrets
from observability.telemetry.settings import LogSettings
from observability.telemetry.spooling import Allowance, SpoolHandler, Ways, ways_of

LOG = logging.getLogger("driftgate.some.part")
ALL = Ways(logging.INFO, 1e6, 1e6)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def spooled(spool: Path) -> list[ServiceEvent]:
    """What is in the spool, each line by the schema's own reader."""
    lines = [line for f in sorted(spool.glob("*")) for s in segments_of(f) for line in s.read_bytes().splitlines()]
    events = [parse(line) for line in lines]
    assert all(isinstance(event, ServiceEvent) for event in events)
    return events  # type: ignore[return-value]


def test_a_line_is_json_in_ecs_names_and_the_same_event_is_in_the_spool(tmp_path):
    written = io.StringIO()
    with set_up_logging("control", tmp_path, LogSettings(), written):
        token = REQUEST_ID.set("req-1")
        try:
            1 / 0  # noqa: B018 - the error is the point
        except ZeroDivisionError:
            LOG.exception("model %s failed", "default/tweets")
        REQUEST_ID.reset(token)
        LOG.debug("too little to be told")

    (line,) = (json.loads(each) for each in written.getvalue().splitlines())
    (event,) = spooled(tmp_path)
    assert line["log.level"] == event.level == "error"
    assert line["message"] == event.message == "model default/tweets failed"
    assert line["service"]["name"] == event.service == "control"
    assert line["http"]["request"]["id"] == event.request_id == "req-1"
    assert line["error"]["type"] == event.error_type == "ZeroDivisionError"
    assert "1 / 0" in line["error"]["stack_trace"] and "1 / 0" in (event.stack_trace or "")
    assert line["log"]["logger"] == event.logger == "driftgate.some.part"
    assert [folder.name for folder in tmp_path.iterdir()] == ["control-log-0"]


@pytest.mark.parametrize(("form", "as_text"), [("auto", True), ("text", True), ("json", False)])
def test_people_at_a_terminal_read_text(form, as_text):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    written = Terminal()
    set_up_logging("control", None, LogSettings(format=form), written)
    token = REQUEST_ID.set("req-2")
    LOG.warning("hello")
    REQUEST_ID.reset(token)

    assert written.getvalue().endswith("WARNING driftgate.some.part: hello [request req-2]\n") is as_text
    assert written.getvalue().startswith("{") is not as_text


def test_stderr_and_the_log_store_each_get_what_was_asked_for(tmp_path):
    written = io.StringIO()
    with set_up_logging("control", tmp_path, LogSettings(level="error", spool="debug"), written) as logs:
        LOG.debug("a detail")
        LOG.error("a fault")

    assert [json.loads(line)["message"] for line in written.getvalue().splitlines()] == ["a fault"]
    assert [event.message for event in spooled(tmp_path)] == ["a detail", "a fault"]
    assert logs.lines["error"] == 1 and logs.lines["debug"] == 0


SECRETS = [
    mint().secret, new_token(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "Bearer 0123456789abcdef", "ApiKey VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1z",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS, ids=["minted", "token", "webhook", "bearer", "api-key"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_is_in_a_log_wherever_it_stands(tmp_path, secret, form):
    written = io.StringIO()
    with set_up_logging("control", tmp_path, LogSettings(format=form), written):
        LOG.warning("asked with %s by somebody", secret)
        LOG.error("failed", exc_info=ValueError(f"refused: {secret}"))

    said = written.getvalue() + "".join(event.model_dump_json() for event in spooled(tmp_path))
    assert secret.split()[-1] not in said and said.count("[secret]") >= 4


def test_a_password_in_an_address_is_taken_out_and_the_address_stays():
    said = without_secrets("connecting to postgresql+psycopg://driftgate:s3cr3t@db.example.com/driftgate")

    assert said == "connecting to postgresql+psycopg://[secret]@db.example.com/driftgate"


@given(st.text())
def test_a_line_without_a_secret_is_left_as_it_is(text):
    assert without_secrets(text) == text or any(mark in text.lower() for mark in ("://", "dg_", "bearer", "basic"))


class Stuck:
    """A spool on a disk that does not answer, until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.written = 0

    def write(self, lines: list[bytes]) -> None:
        self.let_go.wait(10)
        self.written += len(lines)

    def close(self) -> None:
        """Nothing is held."""


def handler(tmp_path: Path, **options: Any) -> SpoolHandler:
    return SpoolHandler(tmp_path, "control", "here", options.pop("ways", ALL), **options)


def record(message: str, name: str = "a", level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord(name, level, "a.py", 1, message, (), None)


def test_who_logs_never_waits_and_each_line_is_written_or_counted_as_refused(tmp_path):
    disk = Stuck()
    spooling = handler(tmp_path, queue_lines=100, claim=lambda *_, **__: disk)
    begun = time.monotonic()
    for number in range(1_000):
        spooling.handle(record(f"line {number}"))
    waited = time.monotonic() - begun
    disk.let_go.set()
    spooling.close()

    assert disk.written + spooling.refused["queue"] == 1_000 and spooling.refused["queue"] >= 300
    assert waited < 5, "it did not wait for the disk, which took longer"


def test_lines_that_come_too_fast_are_counted_and_left_to_stderr(tmp_path):
    spooling = handler(tmp_path, ways=Ways(logging.INFO, per_second=0.0, burst=10))
    for number in range(25):
        spooling.handle(record(f"line {number}"))
    spooling.close()

    assert (len(spooled(tmp_path)), spooling.refused["rate"]) == (10, 15)


@pytest.mark.parametrize("error", [SpoolFull(1, "full"), SpoolTaken("taken"), OSError("gone")])
def test_a_spool_that_takes_nothing_ends_nothing(tmp_path, error):
    class Refusing(Stuck):
        def write(self, lines: list[bytes]) -> None:
            raise SpoolFull(len(lines), "full") if isinstance(error, SpoolFull) else error

    spooling = handler(tmp_path, claim=lambda *_, **__: Refusing())
    for number in range(3):
        spooling.handle(record(f"line {number}"))
    spooling.close()

    assert spooling.refused["spool"] == 3


def test_a_line_about_the_spool_never_makes_another(tmp_path):
    """An fsync that fails is logged by the spool's writer at each attempt."""
    spooling = handler(tmp_path)
    spooling.handle(record("fsync failed", "observability.spool.writer", logging.ERROR))
    spooling.handle(record("a fine line"))
    spooling.close()

    assert [event.message for event in spooled(tmp_path)] == ["a fine line"]


def test_the_shippers_own_lines_cannot_feed_it():
    """Of the lines that it moves only warnings could be its own, and fewer come than it moves."""
    ways = ways_of("shipper", "debug")
    allowance = Allowance(ways.per_second, ways.burst)

    taken = sum(allowance.take(second / 100) for second in range(100 * 600))

    assert ways.level == logging.WARNING
    assert taken <= ways.burst + 600 * ways.per_second + 1


def test_a_line_of_any_text_is_an_event_of_the_schema(tmp_path):
    spooling = handler(tmp_path)
    for message in ("two\nlines", "\ud800 half a character", "x" * 100_000, ""):
        spooling.handle(record(message))
    spooling.close()

    assert [len(event.message) for event in spooled(tmp_path)] == [9, 18, 8_192, 0]


def test_two_processes_of_a_kind_write_to_folders_of_their_own(tmp_path):
    first, second = handler(tmp_path), handler(tmp_path)
    for number, each in enumerate((first, second)):
        each.handle(record(f"of {number}"))
        while not any(segments_of(folder) for folder in tmp_path.glob(f"control-log-{number}")):
            time.sleep(0.01)
    first.close()
    second.close()

    assert [event.message for event in spooled(tmp_path)] == ["of 0", "of 1"]
    SpoolWriter(tmp_path / "control-log-0").close()  # given free


class Inside:
    """An application that says which id it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, list[bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        ids = [value for name, value in scope["headers"] if name == b"x-request-id"]
        self.seen.append((REQUEST_ID.get(), ids))
        await send({"type": "http.response.start", "status": 204, "headers": [(b"x-request-id", b"old")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([b"abc-1._Z"], True), ([], False), ([b""], False), ([b"a b"], False), ([b"x" * 65], False),
        ([b"a\nb"], False), ([b"\xff"], False), ([b"one", b"two"], False),
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_a_request_is_called_what_its_caller_says_if_that_is_sane(said, kept):
    inside, sent, told = Inside(), [], []
    scope = {"type": "http", "headers": [(b"x-request-id", each) for each in said], "method": "GET"}

    async def send(message: Any) -> None:
        sent.append(message)

    await Named(inside, lambda *answer: told.append(answer))(scope, None, send)  # type: ignore[arg-type]

    ((name, ids),) = inside.seen
    assert name is not None and ids == [name.encode()]
    assert (name.encode() == said[0]) if kept else (len(name) == 36)
    assert sent[0]["headers"] == [(b"x-request-id", name.encode())]
    assert told[0][1] == 204 and REQUEST_ID.get() is None
