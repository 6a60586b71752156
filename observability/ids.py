"""Identifiers: UUIDv7, which sort by time, and the key that decides which events a monitor looks at."""

from __future__ import annotations

import hashlib

import uuid_utils


def new_id() -> str:
    """A UUIDv7 as text."""
    return str(uuid_utils.uuid7())


def sample_key(prediction_id: str) -> str:
    """Sixteen hexadecimal digits, uniform over predictions and the same for a prediction and its labels.

    A window takes its k smallest keys: a uniform sample without replacement, whatever the order of arrival
    (bottom-k sampling, Cohen and Kaplan 2007). Salted apart from any other hash of the id, so that sampling
    never follows canary routing.
    """
    return hashlib.blake2b(prediction_id.encode(), digest_size=8, person=b"sample-key").hexdigest()


def turn_of(prediction_id: str) -> float:
    """A number in [0, 1), uniform over predictions: a share above it has a request answered by the challenger."""
    digest = hashlib.blake2b(prediction_id.encode(), digest_size=8, person=b"canary-turn").digest()
    return (int.from_bytes(digest) >> 11) / 2**53
