"""What the shipper promises about each line: in the store, or in the dead letters, and accounted for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.loop import spooled
from observability.events import Event, line_of
from observability.ports import LogStoreUnavailable, Refusal
from observability.spool import retrying
from observability.spool import shipper as shipper_module
from observability.spool.dead_letters import DeadLetter, DeadLetters, DeadLettersFull
from observability.spool.ledger import ledger
from observability.spool.poison import PoisonWindow, TooMuchPoison
from observability.spool.reader import CrashPoint, SpoolLine, SpoolReader
from observability.spool.shipper import Shipped, Shipper
from observability.spool.writer import SpoolWriter, segments_of
from tests.event_samples import at, label, prediction


class MemoryStore:
    """Only as much of a log store as the shipper sees."""

    def __init__(self) -> None:
        self.stored: dict[str, Event] = {}
        self.unavailable = 0
        self.refuses: Callable[[Event], bool] = lambda event: False
        self.meanwhile: Callable[[], object] = lambda: None
        #: of each call: ids, lines, and whether it was said to be fresh
        self.calls: list[tuple[list[str], list[bytes], bool]] = []

    def append(
        self, events: Sequence[Event], lines: Sequence[bytes] | None = None, *, fresh: bool = False
    ) -> list[Refusal]:
        self.calls.append(([event.id for event in events], list(lines or ()), fresh))
        self.meanwhile()
        if self.unavailable:
            self.unavailable -= 1
            raise LogStoreUnavailable("away")
        refused = [event for event in events if self.refuses(event)]
        self.stored |= {event.id: event for event in events if event not in refused}
        return [Refusal(event.id, "too strange") for event in refused]


class Log:
    """A spool with a shipper that can die and come back."""

    def __init__(self, root) -> None:
        self.spool, self.store = root / "spool", MemoryStore()
        self.letters = DeadLetters(root / "dead")
        self.start()

    def start(self, at=lambda point: None, **settings) -> None:
        self.reader = SpoolReader(self.spool, at=at)
        self.shipper = Shipper(self.reader, self.store, self.letters, at=at, **settings)

    def restart(self, **settings) -> None:
        self.reader.close()
        self.start(**settings)

    def ship_all(self) -> None:
        while self.shipper.ship_once().lines:
            pass

    def write(self, *lines: bytes | Event) -> None:
        with SpoolWriter(self.spool / "serving-0") as writer:
            writer.write([x if isinstance(x, bytes) else line_of(x) for x in lines])

    def account(self) -> tuple[int, int, int, int]:
        book = ledger(self.spool)
        assert book.unaccounted == 0
        return book.spooled, book.indexed, book.dead_lettered, book.waiting


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    yield log
    log.reader.close()


def test_events_reach_the_store_and_poison_the_dead_letters_with_the_reason(log):
    log.write(prediction(1, "p1"), b"{not json", b"\xff\xfe", b"", b'{"kind":"prediction","id":"x"}', label("p1", 1, 2))
    assert log.shipper.ship_once() == Shipped(indexed=2, dead_lettered=4)
    letters = list(log.letters)
    assert [letter.data for letter in letters] == [b"{not json", b"\xff\xfe", b"", b'{"kind":"prediction","id":"x"}']
    assert letters[1].base64 is not None
    assert "model" in letters[3].reason
    assert {letter.writer for letter in letters} == {"serving-0"}
    assert [letter.offset for letter in letters] == sorted(letter.offset for letter in letters)
    assert log.account() == (6, 2, 4, 0)


def test_an_unknown_field_or_kind_is_poison(log):
    extra = line_of(prediction(1)).replace(b'"version":1', b'"version":1,"password":"x"')
    log.write(extra, extra.replace(b'"kind":"prediction"', b'"kind":"spell"'))
    assert log.shipper.ship_once() == Shipped(indexed=0, dead_lettered=2)


def test_lines_that_an_earlier_release_left_in_the_spool_are_shipped_as_they_are_written_today(log):
    event = prediction(1, "p1")
    log.write(event.model_dump_json(exclude_none=True).encode(), label("p1", 1, 2, "l1").model_dump_json().encode())
    assert log.shipper.ship_once() == Shipped(indexed=2, dead_lettered=0)
    assert log.store.stored["p1"] == event
    assert log.store.calls[0][1][0] == line_of(event)


def test_an_event_from_the_future_is_poison_and_one_from_the_past_is_not(log):
    log.write(
        prediction(600, "future", observed_time=prediction(0).observed_time),
        label("p", 1, 301, "future label", observed_time=prediction(0).observed_time),
        prediction(300, "edge", observed_time=prediction(0).observed_time),
        prediction(-(10**8), "past", observed_time=prediction(0).observed_time),
    )
    assert log.shipper.ship_once() == Shipped(indexed=2, dead_lettered=2)
    assert set(log.store.stored) == {"edge", "past"}
    assert "ahead" in next(iter(log.letters)).reason


def test_what_was_observed_in_the_future_of_the_machine_is_poison_until_that_time_comes(log):
    class Machine:
        now = staticmethod(lambda: at(0))

    log.restart(clock=Machine())
    log.write(prediction(300, "edge"), prediction(301, "ahead"), label("p", 1, 301, "label ahead"))
    assert log.shipper.ship_once() == Shipped(indexed=1, dead_lettered=2)
    assert set(log.store.stored) == {"edge"}
    assert "clock" in next(iter(log.letters)).reason
    assert retrying.send_again(log.spool, log.letters, Machine()).sent == 0
    assert retrying.send_again(log.spool, log.letters).sent == 2


def test_an_instant_beyond_the_calendar_is_poison_and_no_crash(log):
    line = line_of(prediction(1))
    log.write(line.replace(b"2021-01-16T10:00:01+00:00", b"0001-01-01T00:00:00+14:00"))
    assert log.shipper.ship_once() == Shipped(indexed=0, dead_lettered=1)


def test_what_the_store_refuses_for_good_is_a_dead_letter(log):
    log.store.refuses = lambda event: event.id == "p2"
    log.write(prediction(1, "p1"), prediction(2, "p2"))
    assert log.shipper.ship_once() == Shipped(indexed=1, dead_lettered=1)
    assert [letter.reason for letter in log.letters] == ["too strange"]


def test_while_the_store_is_away_nothing_moves_and_afterwards_everything_does(log):
    log.store.unavailable = 1
    log.write(prediction(1, "p1"), b"poison")
    with pytest.raises(LogStoreUnavailable):
        log.shipper.ship_once()
    assert log.account() == (2, 0, 0, 2)
    assert list(log.letters) == []
    log.shipper.ship_once()
    assert log.account() == (2, 1, 1, 0)


def test_running_waits_out_an_absent_store_and_stops_when_told(log, monkeypatch):
    monkeypatch.setattr(shipper_module, "_FIRST_PAUSE_SECONDS", 0.01)
    log.store.unavailable = 3
    log.write(*(prediction(i) for i in range(5)))
    stop = threading.Event()
    thread = threading.Thread(target=log.shipper.run, args=(stop,), kwargs={"linger_seconds": 0.01})
    thread.start()
    for _ in range(500):
        if len(log.store.stored) == 5:
            break
        stop.wait(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert log.account() == (5, 5, 0, 0)


@pytest.mark.parametrize("point", get_args(CrashPoint))
@pytest.mark.parametrize("visit", [1, 2])
def test_a_shipper_that_dies_at_any_point_moves_no_line_twice_and_loses_none(log, point, visit):
    left = [visit]

    def die(here: CrashPoint) -> None:
        left[0] -= here == point
        if not left[0]:
            raise KeyboardInterrupt

    log.restart(at=die, batch_lines=5)
    with SpoolWriter(log.spool / "serving-0", segment_bytes=2_000) as writer:
        for number in range(6):
            writer.write([line_of(prediction(number, f"p{number}")), b"poison"])
    with pytest.raises(KeyboardInterrupt):
        log.ship_all()
        assert visit == 2, "every point is passed at least once"
        raise KeyboardInterrupt
    assert log.account()[0] == 12
    log.restart(batch_lines=4)
    log.ship_all()
    assert set(log.store.stored) == {f"p{number}" for number in range(6)}
    assert log.letters.count() == 6
    assert log.account() == (12, 6, 6, 0)
    assert segments_of(log.spool / "serving-0") == []


def test_the_next_batch_is_read_while_the_store_takes_one(log, monkeypatch):
    log.write(*(prediction(i, f"p{i}") for i in range(6)))
    log.restart(batch_lines=2)
    ahead, real = threading.Event(), log.reader.next_batch

    def read(limit, behind=None):
        if behind is not None:
            ahead.set()
        return real(limit, behind)

    monkeypatch.setattr(log.reader, "next_batch", read)
    log.store.meanwhile = lambda: ahead.wait(5) or pytest.fail("the store waited for the reader")
    assert log.shipper.ship_once().more
    log.store.meanwhile = lambda: None
    log.ship_all()
    assert [ids for ids, _, _ in log.store.calls] == [["p0", "p1"], ["p2", "p3"], ["p4", "p5"]]
    assert log.account() == (6, 6, 0, 0)


def test_the_store_is_given_the_lines_as_they_stand_in_the_spool(log):
    log.write(prediction(1, "p1"), b"poison", prediction(2, "p2"))
    log.shipper.ship_once()
    assert log.store.calls == [(["p1", "p2"], [line_of(prediction(1, "p1")), line_of(prediction(2, "p2"))], True)]


def test_what_was_or_may_have_been_offered_before_is_never_called_fresh(log):
    log.restart(batch_lines=2)
    log.write(*(prediction(i, f"p{i}") for i in range(8)))
    log.shipper.ship_once()
    log.store.unavailable = 1
    with pytest.raises(LogStoreUnavailable):
        log.shipper.ship_once()
    log.shipper.ship_once()

    def die() -> None:
        raise KeyboardInterrupt

    log.store.meanwhile = die
    with pytest.raises(KeyboardInterrupt):
        log.shipper.ship_once()
    log.store.meanwhile = lambda: None
    log.restart(batch_lines=1)
    log.ship_all()
    assert [(ids[0], fresh) for ids, _, fresh in log.store.calls] == [
        ("p0", True), ("p2", True), ("p2", False), ("p4", True),
        ("p4", False), ("p5", False), ("p6", True), ("p7", True),
    ]  # fmt: skip


def test_without_offsets_nothing_that_was_there_is_called_fresh_and_what_comes_later_is(log):
    with SpoolWriter(log.spool / "serving-0") as writer:
        writer.write([line_of(prediction(i, f"p{i}")) for i in range(4)])
        log.ship_all()
        (log.spool / "offsets.json").unlink()
        log.restart(batch_lines=3)
        log.shipper.ship_once()
        log.restart(batch_lines=3)  # the file is there again, and the last line was not read yet
        log.shipper.ship_once()
        writer.write([line_of(prediction(4, "p4"))])
        log.shipper.ship_once()
    again = [(ids, fresh) for ids, _, fresh in log.store.calls[1:]]
    assert again == [(["p0", "p1", "p2"], False), (["p3"], False), (["p4"], True)]


@pytest.mark.parametrize("name", [retrying.WRITER, spooled.NAME])
def test_a_writer_that_may_repeat_a_line_is_never_called_fresh(log, name):
    with SpoolWriter.claim(log.spool, name) as writer:
        writer.write([line_of(prediction(1, "p1"))])
        log.ship_all()
    assert [fresh for _, _, fresh in log.store.calls] == [False]


def test_a_shipper_that_is_told_to_stop_finishes_its_batch(log):
    log.write(*(prediction(i, f"p{i}") for i in range(6)))
    log.restart(batch_lines=2)
    stop = threading.Event()
    log.store.meanwhile = stop.set
    log.shipper.run(stop)
    assert log.account() == (6, 2, 0, 4)


def test_shipping_waits_where_the_dead_letters_are_full_and_goes_on_when_there_is_room(log):
    log.letters = DeadLetters(log.letters._root, quota_bytes=300)
    log.restart()
    log.write(b"poison", b"p" * 300, prediction(1, "p1"))
    for _ in range(2):
        with pytest.raises(DeadLettersFull, match="DEAD_LETTER_QUOTA"):
            log.shipper.ship_once()
        assert log.account() == (3, 0, 0, 3)
    log.letters = DeadLetters(log.letters._root)
    log.restart()
    log.shipper.ship_once()
    assert log.account() == (3, 1, 2, 0)


def test_a_shipper_counts_what_it_moved_and_what_stopped_it(log):
    log.write(prediction(1, "p1"), b"poison")
    log.store.unavailable = 1
    with pytest.raises(LogStoreUnavailable):
        log.shipper.ship_once()
    log.ship_all()
    assert log.shipper.counts == {"LogStoreUnavailable": 1, "batches": 1, "indexed": 1, "dead_lettered": 1}


@pytest.mark.parametrize("saves", [0, 1])
def test_a_death_while_segments_are_deleted_counts_no_line_twice(log, monkeypatch, saves):
    log.write(prediction(1), b"poison")
    batch = log.reader.next_batch()
    log.shipper.ship_once()  # ships, and deletes the closed segment
    assert segments_of(log.spool / "serving-0") == []
    log.write(prediction(2), b"poison")
    real, left = log.reader._save, [2 + saves]  # announced, committed

    def save_or_die(offsets):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(offsets)

    monkeypatch.setattr(log.reader, "_save", save_or_die)
    with pytest.raises(KeyboardInterrupt):
        log.shipper.ship_once()
    assert log.account() == (4, 2, 2, 0)
    log.restart()
    log.shipper.ship_once()
    assert log.account() == (4, 2, 2, 0)
    assert segments_of(log.spool / "serving-0") == []
    assert len(batch.lines) == 2


def test_half_a_dead_letter_of_a_killed_shipper_is_written_anew(tmp_path):
    letters = DeadLetters(tmp_path)
    one, two = (DeadLetter.of(SpoolLine("w", "s.jsonl", n, b"x"), "why") for n in (0, 2))
    letters.add([one])
    with (tmp_path / "w" / "s.jsonl").open("ab") as file:
        file.write(two.model_dump_json().encode()[:20])
    letters.add([one, two])
    assert list(letters) == [one, two]


def test_pure_poison_stops_the_shipper_within_a_thousand_lines_and_loses_nothing(log):
    log.write(*(f"poison {i}".encode() for i in range(3000)))
    with pytest.raises(TooMuchPoison, match="5%"):
        log.shipper.ship_once()
    assert log.letters.count() <= 1000
    assert log.account() == (3000, 0, 0, 3000)
    with pytest.raises(TooMuchPoison):
        log.shipper.run(threading.Event())
    log.restart(poison=PoisonWindow(share=1.0))
    log.shipper.ship_once()
    assert log.account() == (3000, 0, 3000, 0)


def test_a_retry_does_not_count_the_same_poison_twice(log):
    log.write(*(b"poison" for _ in range(40)))
    log.store.unavailable = 5
    for _ in range(5):
        with pytest.raises(LogStoreUnavailable):
            log.shipper.ship_once()
    assert log.shipper.ship_once() == Shipped(indexed=0, dead_lettered=40)


def test_a_shipper_that_is_started_again_knows_how_much_was_refused(log):
    for _ in range(5):
        log.write(*(prediction(i) for i in range(3)), *(b"poison" for _ in range(10)))
        log.ship_all()
        log.restart()
    log.write(b"poison")
    for _ in range(2):
        with pytest.raises(TooMuchPoison):
            log.shipper.ship_once()
        log.restart()
    assert log.account() == (66, 15, 50, 1)
    log.restart(poison=PoisonWindow(share=1.0))
    log.ship_all()
    assert log.account() == (66, 15, 51, 0)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 12))
def test_the_poison_limit_holds_at_every_line_however_the_lines_are_batched(outcomes, batch):
    window, limit = PoisonWindow(share=0.5, size=10), 5
    expected = any(sum(outcomes[max(0, end - 10) : end]) > limit for end in range(1, len(outcomes) + 1))
    raised = False
    try:
        for start in range(0, len(outcomes), batch):
            window = window.after(outcomes[start : start + batch])
    except TooMuchPoison:
        raised = True
    assert raised == expected


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),
        st.tuples(st.just("poison"), st.integers(1, 4)),
        st.tuples(st.just("half"), st.just(0)),
        st.tuples(st.just("ship"), st.integers(1, 20)),
        st.tuples(st.just("die"), st.integers(0, 4)),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(actions=ACTIONS)
def test_the_ledger_balances_after_whatever_happens(tmp_path_factory, actions):
    log, made, poison = Log(tmp_path_factory.mktemp("log")), 0, 0
    for action, number in actions:
        if action == "write":
            log.write(*(prediction(i, f"p{made + i}") for i in range(number)))
            made += number
        elif action == "poison":
            log.write(*(b"poison" for _ in range(number)))
            poison += number
        elif action == "half" and (segments := segments_of(log.spool / "serving-0")) and _ends_whole(segments[-1]):
            with segments[-1].open("ab") as file:  # a second half would come after the writer's death
                file.write(b'{"half')
            poison += 1
        elif action == "ship":
            log.restart(batch_lines=number)
            log.shipper.ship_once()
        elif action == "die":
            _ship_and_die(log, number)
        assert sum(log.account()[1:]) == log.account()[0]
    log.restart()
    while log.shipper.ship_once().lines:
        pass
    _, indexed, dead_lettered, waiting = log.account()
    assert (indexed, waiting) == (made, 0)
    assert len(log.store.stored) == made
    assert dead_lettered == log.letters.count() >= poison
    log.reader.close()


def _ends_whole(segment) -> bool:
    return segment.read_bytes().endswith(b"\n")


def _ship_and_die(log: Log, saves: int) -> None:
    real = log.reader._save

    def save_or_die(offsets) -> None:
        nonlocal saves
        if not saves:
            raise KeyboardInterrupt
        saves -= 1
        real(offsets)

    log.reader._save = save_or_die
    try:
        log.shipper.ship_once()
    except KeyboardInterrupt:
        pass
    finally:
        log.restart()
