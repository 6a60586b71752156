"""The signature: which names it takes, and that it is told soon what is wrong with many."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from bundle.blobs import BlobStore
from bundle.manifest import Manifest
from bundle.signature import ColumnName, Feature, ModelId, RawField, Signature


class Counted(str):
    """A name that counts how often any of its kind was compared."""

    compared = 0
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def signature(names: list[str]) -> Signature:
    features = tuple(Feature.model_construct(name=name, type="numeric") for name in names)
    return Signature.model_construct(
        model="default/wide", task="binary", label="y", raw=(RawField(name="x", type="number"),), features=features
    )


@pytest.mark.parametrize("kind", [ModelId, ColumnName])
@pytest.mark.parametrize("end", ["\n", " ", "\x00", "\r"])
def test_a_name_ends_where_it_seems_to(kind, end):
    names = TypeAdapter(kind)
    name = "default/tweets" if kind is ModelId else "place"
    assert names.validate_python(name) == name
    with pytest.raises(ValidationError):
        names.validate_python(name + end)


def test_a_digest_with_a_newline_names_no_blob(tmp_path):
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        BlobStore(tmp_path).path("0" * 64 + "\n")


def test_every_name_that_is_declared_twice_is_told():
    with pytest.raises(ValueError, match=r"features: declared twice: a, b$"):
        signature(["b", "a", "c", "a", "b", "a"])._names_are_unique()


def test_many_names_are_compared_a_few_times_each():
    Counted.compared = 0
    signature([Counted(f"f{number}") for number in range(5_000)])._names_are_unique()
    assert Counted.compared < 50_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_no_word_for_is_refused_by_name(number):
    files = {f"f{number}": "0" * 64 for number in range(4)}
    good = Manifest(signature=signature(["a"]), features_function="features", files=files)
    said = good.model_dump_json().replace('"threshold":0.5', f'"threshold":{number}')
    assert number in said
    with pytest.raises(ValidationError, match="threshold"):
        Manifest.model_validate_json(said)
