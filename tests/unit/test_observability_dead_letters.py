"""Dead letters: kept once, shown whole, and sent again when the cause is mended."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from controlplane.cli import app
from observability.events import line_of
from observability.spool.dead_letters import DeadLetter, DeadLetters, DeadLettersFull
from observability.spool.ledger import ledger
from observability.spool.reader import SpoolLine
from observability.spool.retrying import send_again
from observability.spool.writer import SpoolWriter
from tests.event_samples import prediction
from tests.unit.test_observability_shipper import Log


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.reader.close()


def refused_by_the_store(log: Log, *ids: str) -> None:
    log.write(*(prediction(0, name) for name in ids), b"poison")
    log.store.refuses = lambda event: event.id in ids
    log.ship_all()
    log.store.refuses = lambda event: False


def test_a_letter_that_is_sent_again_reaches_the_store_once_and_waits_no_more(log):
    refused_by_the_store(log, "p1", "p2")
    assert len(list(log.letters.waiting())) == 3

    outcome = send_again(log.spool, log.letters)
    assert (outcome.sent, [letter.data for letter in outcome.refused]) == (2, [b"poison"])
    log.ship_all()
    assert set(log.store.stored) == {"p1", "p2"}
    assert [letter.data for letter in log.letters.waiting()] == [b"poison"]
    assert log.letters.count() == 3
    assert log.account() == (5, 2, 3, 0)
    assert send_again(log.spool, log.letters).sent == 0


def test_what_the_store_refuses_again_is_a_letter_of_its_own(log):
    refused_by_the_store(log, "p1")
    log.store.refuses = lambda event: True
    send_again(log.spool, log.letters)
    log.ship_all()
    again = [letter for letter in log.letters.waiting() if letter.data != b"poison"]
    assert [letter.writer for letter in again] == ["retry-0"]
    assert log.account() == (3, 0, 3, 0)


def test_half_a_line_is_never_sent_again_though_what_is_there_reads_like_an_event(tmp_path):
    letters = DeadLetters(tmp_path / "dead")
    letters.add([DeadLetter.of(SpoolLine("w", "s.jsonl", 0, line_of(prediction(0)), torn=True), "half a line")])
    outcome = send_again(tmp_path / "spool", letters)
    assert (outcome.sent, len(outcome.refused)) == (0, 1)


def test_a_retry_that_dies_before_it_marks_sends_again_and_the_store_takes_it_once(log, monkeypatch):
    refused_by_the_store(log, "p1")

    def die(_letters):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(log.letters, "mark_sent", die)
        with pytest.raises(KeyboardInterrupt):
            send_again(log.spool, log.letters)
    send_again(log.spool, log.letters)
    log.ship_all()
    assert list(log.store.stored) == ["p1"]
    assert log.account()[0] == 4


def test_where_the_spool_is_full_what_was_not_sent_still_waits(log):
    refused_by_the_store(log, "p1", "p2", "p3")
    room = len(line_of(prediction(0, "p1"))) * 2 + 20
    outcome = send_again(log.spool, log.letters, quota_bytes=room)
    assert outcome.stopped and outcome.sent == 0
    assert len(list(log.letters.waiting())) == 4


def test_the_command_spools_no_more_than_the_settings_allow(log, monkeypatch):
    refused_by_the_store(log, "p1")
    home = log.spool.parent
    (home / "dead").rename(home / "dead-letters")
    with SpoolWriter(log.spool / "retry-0") as writer:
        writer.write([b"x" * (1 << 20)])
    monkeypatch.setenv("OBSERVABILITY_SPOOL_QUOTA_BYTES", str(1 << 20))
    outcome = CliRunner().invoke(app, ["logs", "retry", "--home", str(home), "--json"])
    assert (outcome.exit_code, json.loads(outcome.stdout)["sent"]) == (1, 0)
    assert "full" in json.loads(outcome.stdout)["stopped"]


def test_where_the_disk_is_full_before_the_first_letter_all_still_wait(log, monkeypatch):
    refused_by_the_store(log, "p1")
    real = SpoolWriter.claim
    monkeypatch.setattr(
        SpoolWriter, "claim", lambda root, name, **_: SpoolWriter(root / "retry-0", reserve_bytes=1 << 60)
    )
    outcome = send_again(log.spool, log.letters)
    assert outcome.stopped and outcome.sent == 0
    assert len(list(log.letters.waiting())) == 2
    monkeypatch.setattr(SpoolWriter, "claim", real)
    assert send_again(log.spool, log.letters).sent == 1


def test_the_commands_list_show_and_send_again(log):
    refused_by_the_store(log, "p1")
    home = log.spool.parent
    (home / "dead").rename(home / "dead-letters")
    run = CliRunner().invoke

    listed = json.loads(run(app, ["logs", "dead-letters", "--home", str(home), "--json"]).stdout)
    assert [letter["reason"][:16] for letter in listed] == ["too strange", "event: not JSON:"]
    shown = run(app, ["logs", "dead-letters", listed[0]["id"], "--home", str(home)])
    assert line_of(prediction(0, "p1")).decode() in shown.stdout
    assert run(app, ["logs", "dead-letters", "w/none:0", "--home", str(home)]).exit_code == 1
    assert "poison" in run(app, ["logs", "dead-letters", "--home", str(home)]).stdout

    sent = run(app, ["logs", "retry", "--home", str(home), "--json"])
    assert sent.exit_code == 1, "one is refused still"
    assert (json.loads(sent.stdout)["sent"], len(json.loads(sent.stdout)["refused"])) == (1, 1)
    assert len(json.loads(run(app, ["logs", "dead-letters", "--home", str(home), "--json"]).stdout)) == 1
    assert len(json.loads(run(app, ["logs", "dead-letters", "--all", "--home", str(home), "--json"]).stdout)) == 2


def test_a_ledger_that_is_off_is_an_error_of_the_command(log):
    log.write(prediction(0, "p1"))
    log.ship_all()
    home = log.spool.parent
    run = CliRunner().invoke
    assert run(app, ["ledger", "--home", str(home)]).exit_code == 0
    offsets = log.spool / "offsets.json"
    offsets.write_bytes(offsets.read_bytes().replace(b'"deleted_indexed":1', b'"deleted_indexed":0'))
    assert ledger(log.spool).unaccounted == 1
    told = run(app, ["ledger", "--home", str(home), "--json"])
    assert (told.exit_code, json.loads(told.stdout)["unaccounted"]) == (1, 1)


def test_letters_that_are_kept_already_are_taken_again_where_the_quota_has_no_room_for_them_twice(tmp_path):
    letters = DeadLetters(tmp_path, quota_bytes=400)
    both = [DeadLetter.of(SpoolLine("w", "s.jsonl", offset, b"x" * 100), "why") for offset in (0, 101)]
    letters.add(both)
    letters.add(both)  # a shipper that was killed before it noted its offset
    assert list(letters) == both
    with pytest.raises(DeadLettersFull):
        letters.add([DeadLetter.of(SpoolLine("w", "s.jsonl", 202, b"x" * 100), "why")])


def test_half_a_mark_of_a_killed_command_marks_no_other_letter(tmp_path):
    letters = DeadLetters(tmp_path)
    one, two, three = (DeadLetter.of(SpoolLine("w", "s.jsonl", offset, b"x"), "why") for offset in (1, 23, 123))
    letters.add([one, two, three])
    (tmp_path / "w" / "s.sent").write_bytes(b"1")
    letters.mark_sent([two])
    assert list(letters.waiting()) == [one, three]


def test_dead_letters_are_for_their_owner_only(tmp_path):
    letters = DeadLetters(tmp_path)
    letters.add([DeadLetter.of(SpoolLine("w", "s.jsonl", 0, b"x"), "why")])
    letters.mark_sent(list(letters))
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("*/*")} == {"0o600"}
    assert next(iter(letters)).id == "w/s.jsonl:0"
