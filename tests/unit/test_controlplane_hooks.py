"""A webhook's signature: only these bytes, only this secret, only just now."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.access.hooks import ID, SIGNATURE, TIMESTAMP, secret_of, sign, verify
from controlplane.errors import BadSignature

SECRET = secret_of(b"k" * 32, "default/tweets", 1)
SENT = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY = b'{"reason": "the catalogue changed"}'
EDGE = timedelta(minutes=5)
JUST = timedelta(microseconds=1)


def call(secret: str = SECRET, body: bytes = BODY, message_id: str = "msg_1") -> dict[str, str]:
    timestamp = str(int(SENT.timestamp()))
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: sign(secret, message_id, timestamp, body)}


def test_the_form_is_that_of_standard_webhooks():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("off", "accepted"),
    [(-EDGE, True), (EDGE, True), (-EDGE - JUST, False), (EDGE + JUST, False)],
)
def test_five_minutes_to_either_side_are_exact_at_the_edge(off, accepted):
    if accepted:
        assert verify(SECRET, call(), BODY, SENT + off) == "msg_1"
    else:
        with pytest.raises(BadSignature, match="five minutes"):
            verify(SECRET, call(), BODY, SENT + off)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_of_a_thousand_flipped_bits_none_is_accepted():
    chance, refused = random.Random(16), 0
    for _ in range(1000):
        headers, body = call(), BODY
        part = chance.choice([ID, TIMESTAMP, SIGNATURE, "body"])
        if part == "body":
            body = flipped(body, chance.randrange(8 * len(body)))
        else:
            value = headers[part].encode()
            headers[part] = flipped(value, chance.randrange(8 * len(value))).decode("latin-1")
        with pytest.raises(BadSignature):
            verify(SECRET, headers, body, SENT)
        refused += 1
    assert refused == 1000


def test_every_last_bit_of_the_signature_counts_also_those_that_base64_passes_over():
    headers = call()
    value = headers[SIGNATURE].encode()
    for bit in range(8 * (len(value) - 2), 8 * len(value)):
        with pytest.raises(BadSignature):
            verify(SECRET, headers | {SIGNATURE: flipped(value, bit).decode("latin-1")}, BODY, SENT)


def test_one_good_signature_among_several_is_enough_but_not_behind_very_many():
    good, bad = call()[SIGNATURE], call(secret_of(b"x" * 32, "default/tweets", 1))[SIGNATURE]
    assert verify(SECRET, call() | {SIGNATURE: f"{bad} v2,xyz {good}"}, BODY, SENT) == "msg_1"
    with pytest.raises(BadSignature):
        verify(SECRET, call() | {SIGNATURE: " ".join([bad] * 10 + [good])}, BODY, SENT)


@pytest.mark.parametrize("model", ["default/other", "default/tweets"])
def test_a_secret_opens_one_model_in_one_generation_only(model):
    generation = 1 if model == "default/other" else 2
    with pytest.raises(BadSignature):
        verify(secret_of(b"k" * 32, model, generation), call(), BODY, SENT)


@pytest.mark.parametrize("message_id", ["", "a.1", "a b", "x" * 65, "é"])
def test_an_id_that_could_be_read_in_two_ways_is_refused(message_id):
    with pytest.raises(BadSignature, match="webhook-id"):
        verify(SECRET, call(message_id=message_id), BODY, SENT)


@pytest.mark.parametrize("missing", [ID, TIMESTAMP, SIGNATURE])
def test_a_call_without_one_of_its_headers_is_refused(missing):
    with pytest.raises(BadSignature, match=missing):
        verify(SECRET, {name: value for name, value in call().items() if name != missing}, BODY, SENT)


@pytest.mark.parametrize("timestamp", ["1e9", "-1", "\u0661\u0662", "9" * 11, "9" * 12, " 1"])
def test_a_time_that_is_no_time_is_refused(timestamp):
    headers = call() | {TIMESTAMP: timestamp}
    headers[SIGNATURE] = sign(SECRET, headers[ID], timestamp, BODY)
    with pytest.raises(BadSignature):
        verify(SECRET, headers, BODY, SENT)
