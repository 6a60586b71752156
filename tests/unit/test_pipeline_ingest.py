"""Ingest takes a file whole or not at all, and says why."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta

import pyarrow.dataset as ds
import pytest

from bundle.privacy import pseudonym
from bundle.signature import Feature, RawField
from pipeline.batches import Layers
from pipeline.contract.spec import ModelSpec
from pipeline.csvsource import CsvSource
from pipeline.errors import BadSource
from pipeline.ingest import ingest_csv
from pipeline.ingest_command import main
from pipeline.stream import write_rows as write_requests

SPEC = ModelSpec.model_validate(
    {
        "model": "default/small", "task": "binary", "team": "t", "data_owner": "o", "engine": "sklearn",
        "source": {"id": "key", "time": "at"},
        "raw": [
            RawField(name="text", type="string", required=True, privacy="mask"),
            RawField(name="place", type="string"), RawField(name="count", type="integer"),
            RawField(name="share", type="number"), RawField(name="checked", type="boolean"),
        ],
        "label": {"name": "yes", "horizon": "1d", "from": [{"column": "hits", "above": 0}, {"column": "flag"}]},
        "features": [Feature(name="count", type="numeric")],
        "entry": {"features": "features.py:features", "pipeline": "training.py:pipeline"},
    }
)  # fmt: skip
HEADER = ["key", "at", "text", "place", "count", "share", "checked", "user_name", "hits", "flag"]
ROW = ["1", "2021-01-01 10:00:00", "hi @jane", "London, England", "3", "0.5", "True", "Jane", "2", "False"]


def row(**changes):
    return [changes.get(name, value) for name, value in zip(HEADER, ROW, strict=True)]


def write(path, rows, header=HEADER):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture
def layers(tmp_path):
    return Layers(tmp_path / "layers")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "rows.csv"


def take(layers, path, until=None):
    return ingest_csv(layers, SPEC, path, b"", until)


def raw_rows(layers, batch):
    return ds.dataset(layers.raw(batch.name), format="parquet").to_table().to_pylist()


def labels(layers, batch):
    return ds.dataset(layers.labels(batch.name), format="parquet").to_table().to_pylist()


def nothing_is_left(layers):
    return not [p for p in layers.root.rglob("*") if p.is_file() and p.name != ".lock"]


def test_a_row_is_typed_masked_and_reduced_to_what_is_declared(layers, file):
    batch, new = take(layers, write(file, [row()]))

    assert (new, batch.rows, batch.label_column) == (True, 1, "hits")
    assert raw_rows(layers, batch) == [
        {
            "id": "1", "event_time": datetime(2021, 1, 1, 10, tzinfo=UTC), "raw_text": "hi @user",
            "raw_place": "London, England", "raw_count": 3, "raw_share": 0.5, "raw_checked": True,
        }
    ]  # fmt: skip
    assert layers.raw(batch.name).joinpath("day=2021-01-01").is_dir()


def test_a_label_is_known_after_its_horizon(layers, file):
    batch, _ = take(layers, write(file, [row(), row(key="2", hits="0"), row(key="3", hits="")]))

    found = {label["id"]: label for label in labels(layers, batch)}
    assert {key: label["label"] for key, label in found.items()} == {"1": 1, "2": 0}
    assert found["1"]["label_time"] == datetime(2021, 1, 2, 10, tzinfo=UTC)
    assert found["1"]["source"] == "hits"


def test_the_next_label_source_is_used_where_the_first_is_absent(layers, file):
    without = [cells[:8] + cells[9:] for cells in [row(), row(key="2", flag="true")]]

    batch, _ = take(layers, write(file, without, [name for name in HEADER if name != "hits"]))

    assert batch.label_column == "flag"
    assert [label["label"] for label in labels(layers, batch)] == [0, 1]


@pytest.mark.parametrize(("text", "label"), [("1.0", 1), ("0.0", 0), ("yes", 1), ("FALSE", 0)])
def test_a_label_of_booleans_may_be_written_as_a_number(layers, file, text, label):
    without = [cells[:8] + cells[9:] for cells in [row(flag=text)]]

    batch, _ = take(layers, write(file, without, [name for name in HEADER if name != "hits"]))

    assert [found["label"] for found in labels(layers, batch)] == [label]


def test_quotes_commas_line_breaks_emoji_and_a_byte_order_mark_are_read(layers, file):
    text = 'one "two", three\nfour 🦠\r\nfive'
    write(file, [row(text=text)])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    batch, _ = take(layers, file)

    assert raw_rows(layers, batch)[0]["raw_text"] == text


def test_empty_optional_fields_are_missing(layers, file):
    batch, _ = take(layers, write(file, [row(place="", count="", share="nan", checked="")]))

    found = raw_rows(layers, batch)[0]
    assert [found[f"raw_{name}"] for name in ("place", "count", "share", "checked")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-01-01T10:00:00Z", datetime(2021, 1, 1, 10, tzinfo=UTC)),
        ("2021-01-01T10:00:00+02:00", datetime(2021, 1, 1, 8, tzinfo=UTC)),
        ("2021-01-01", datetime(2021, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_kept_in_utc(layers, file, text, expected):
    batch, _ = take(layers, write(file, [row(at=text)]))

    assert raw_rows(layers, batch)[0]["event_time"] == expected


def test_the_same_file_again_changes_nothing(layers, file):
    first, _ = take(layers, write(file, [row()]))
    before = {path: path.stat().st_mtime_ns for path in layers.root.rglob("*") if path.is_file()}

    again, new = take(layers, file)

    assert (again, new) == (first, False)
    assert {p: p.stat().st_mtime_ns for p in layers.root.rglob("*") if p.is_file() and p.name != ".lock"} == {
        p: t for p, t in before.items() if p.name != ".lock"
    }


def test_rows_from_until_on_are_left_out(layers, file):
    rows = [row(), row(key="2", at="2021-01-02 10:00:00")]

    batch, _ = take(layers, write(file, rows), until=datetime(2021, 1, 2, tzinfo=UTC))

    assert [found["id"] for found in raw_rows(layers, batch)] == ["1"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": " "}, "key: missing"),
        ({"at": "yesterday"}, "at: not a time"),
        ({"text": ""}, "text: is required"),
        ({"count": "many"}, "count: expected integer"),
        ({"count": "1.5"}, "count: expected integer"),
        ({"count": "99999999999999999999"}, "count: the integer is too large"),
        ({"share": "inf"}, "share: expected a finite number"),
        ({"share": "1e39"}, "share: the number is too large"),
        ({"count": "1e400"}, "count: expected integer"),
        ({"at": "9999-12-31"}, "at: lies outside the years 1900 to 2200"),
        ({"at": "0001-01-01"}, "at: lies outside the years 1900 to 2200"),
        ({"checked": "maybe"}, "checked: expected boolean"),
        ({"hits": "x"}, "hits: expected number"),
    ],
)
def test_a_row_that_cannot_be_used_is_kept_aside_with_its_reason(layers, file, change, reason):
    batch, _ = take(layers, write(file, [row(), row(key="2"), row(**change)]))

    refused = [json.loads(line) for line in layers.refused(batch.name).read_text().splitlines()]
    assert (batch.rows, batch.refused) == (2, 1)
    assert refused[0]["row"] == 3
    assert refused[0]["line"] == 4
    assert refused[0]["reason"].startswith(reason)


def test_one_percent_of_garbage_is_counted_and_the_rest_taken(layers, file):
    rows = [row(key=str(i)) if i % 100 else ["?", "broken"] for i in range(2000)]

    batch, _ = take(layers, write(file, rows))

    assert (batch.rows, batch.refused) == (1980, 20)


def test_a_file_with_too_much_garbage_is_refused_whole(layers, file):
    rows = [row(key=str(i)) if i % 10 else ["?"] for i in range(400)]

    with pytest.raises(BadSource, match=r"40 of 400 rows cannot be used: 40 x 1 fields instead of 10"):
        take(layers, write(file, rows))

    assert nothing_is_left(layers)


def test_a_missing_column_names_file_and_column(layers, file):
    with pytest.raises(BadSource, match=r"rows\.csv: there is no column text; the file has: key, at"):
        take(layers, write(file, [], [name for name in HEADER if name != "text"]))


def test_a_file_without_any_label_column_is_refused(layers, file):
    with pytest.raises(BadSource, match="no label column: expected hits or flag"):
        take(layers, write(file, [], HEADER[:8]))


def test_an_empty_file_is_refused(layers, file):
    file.write_text("")

    with pytest.raises(BadSource, match="the file is empty"):
        take(layers, file)


@pytest.mark.parametrize("tail", ['2,2021-01-01 10:00:00,"never closed,x\n', '2,2021-01-01 10:00:00,"a"b,x\n'])
def test_a_broken_quote_names_the_line_and_nothing_is_half_written(layers, file, tail):
    write(file, [row(key=str(i)) for i in range(30_000)])
    with file.open("a") as end:
        end.write(tail + "more\n" * 3)

    with pytest.raises(BadSource, match=r"rows\.csv:30002: broken quote"):
        take(layers, file)

    assert nothing_is_left(layers)


def test_bytes_that_are_not_text_are_refused(layers, file):
    write(file, [row()])
    with file.open("ab") as end:
        end.write(b"2,2021-01-01,\xff\xfe\n")

    with pytest.raises(BadSource, match="not UTF-8"):
        take(layers, file)


def test_what_an_interrupted_ingest_left_is_replaced(layers, file, monkeypatch):
    write(file, [row()])
    commit = Layers.commit

    def killed(self, batch, staging):
        commit(self, batch, staging)
        (self.root / "batches" / f"{batch.name}.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(Layers, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        take(layers, file)
    assert layers.batches() == []
    monkeypatch.undo()

    batch, new = take(layers, file)

    assert new
    assert len(raw_rows(layers, batch)) == 1


def test_the_id_of_a_row_whose_id_column_is_hashed_is_the_pseudonym_everywhere(layers, file, tmp_path):
    spec = SPEC.model_copy(update={"raw": (*SPEC.raw, RawField(name="key", type="string", privacy="hash"))})
    key, known = b"k" * 32, pseudonym("jane", b"k" * 32)
    write(file, [row(key="jane"), row(key=known, at="2021-01-03")])

    batch, _ = ingest_csv(layers, spec, file, key)
    write_requests(CsvSource(file, spec, key), tmp_path / "stream.jsonl")

    found = raw_rows(layers, batch)
    assert {line["id"] for line in found} == {line["raw_key"] for line in found} == {known}
    assert {label["id"] for label in labels(layers, batch)} == {known}
    assert "jane" not in (tmp_path / "stream.jsonl").read_text()


def test_a_hashed_field_without_a_key_stops_the_command(tmp_path, file, capsys):
    fields = [*SPEC.raw, RawField(name="user_name", type="string", privacy="hash")]
    spec = tmp_path / "spec.json"
    spec.write_text(SPEC.model_copy(update={"raw": tuple(fields)}).model_dump_json(by_alias=True))

    code = main(["--home", str(tmp_path), "--spec-json", str(spec), "--file", str(write(file, [row()]))])

    assert code == 2
    assert "PIPELINE_PRIVACY_KEY" in capsys.readouterr().err


def test_the_command_prints_one_line_and_exits_with_two_on_a_bad_source(tmp_path, file, capsys):
    spec = tmp_path / "spec.json"
    spec.write_text(SPEC.model_dump_json(by_alias=True))
    arguments = ["--home", str(tmp_path), "--spec-json", str(spec), "--file"]

    assert main([*arguments, str(write(file, [row()])), "--until", "2021-02-01T00:00:00Z"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["rows"], printed["refused"], printed["label_column"]) == (1, 0, "hits")
    assert main([*arguments, str(tmp_path / "nowhere.csv")]) == 2
    assert "nowhere.csv: cannot be read" in capsys.readouterr().err


def test_events_of_many_days_are_parted_by_day(layers, file):
    start = datetime(2021, 1, 1, tzinfo=UTC)
    rows = [row(key=str(i), at=(start + timedelta(hours=8 * i)).isoformat()) for i in range(9)]

    batch, _ = take(layers, write(file, rows))

    days = sorted(path.name for path in layers.raw(batch.name).iterdir())
    assert days == ["day=2021-01-01", "day=2021-01-02", "day=2021-01-03"]
    assert batch.period == (start, start + timedelta(hours=64))
