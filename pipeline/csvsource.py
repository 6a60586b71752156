"""Reads a CSV source row by row: an unusable row is refused with its reason, a broken file is an error."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bundle.privacy import filtered, known_by_pseudonym
from bundle.ranges import check_moment, check_number
from bundle.signature import FieldType
from pipeline.contract.spec import LabelColumn, ModelSpec
from pipeline.errors import BadSource

#: with 1.0 and 0.0, since a column of booleans with gaps is often written as numbers
_TRUE: Final = frozenset({"true", "1", "1.0", "yes"})
_FALSE: Final = frozenset({"false", "0", "0.0", "no"})
_MISSING: Final = frozenset({"", "nan", "null", "none"})


@dataclass(frozen=True)
class SourceRow:
    """A row that passed: typed, and after the privacy filter."""

    id: str
    event_time: datetime
    raw: dict[str, Any]
    label: int | None


@dataclass(frozen=True)
class RefusedRow:
    """A row that cannot be used. It says where, and never what was in it."""

    row: int
    line: int
    reason: str


class CsvSource:
    """One CSV file under a spec. Opening it checks its header."""

    def __init__(self, path: Path, spec: ModelSpec, key: bytes) -> None:
        """Raises BadSource for a file that is missing, empty, or without a required column."""
        self._path, self._spec, self._key = path, spec, key
        header = next(self._records(), None)
        if header is None:
            raise BadSource(f"{path}: the file is empty: expected a header with {', '.join(self._required())}")
        self._header = [name.strip() for name in header[1]]
        self._check_header()
        self.label_column = self._label_column()
        self._hashed_id = any(field.name == spec.source.id and field.privacy == "hash" for field in spec.raw)

    def rows(self) -> Iterator[SourceRow | RefusedRow]:
        """Every row of the file in its order. Raises BadSource where the file cannot be read on."""
        records = self._records()
        next(records)
        for number, (line, cells) in enumerate(records, start=1):
            if not cells:
                continue
            try:
                yield self._row(cells)
            except ValueError as error:
                yield RefusedRow(number, line, str(error))

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record with the line on which it starts."""
        line = 1
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                for cells in reader:
                    yield line, cells
                    line = reader.line_num + 1
        except OSError as error:
            raise BadSource(f"{self._path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadSource(f"{self._path}: not UTF-8 text in or after the record at line {line}") from error
        except csv.Error as error:
            text = f"{self._path}:{line}: broken quote or field in the record that starts here: {error}"
            raise BadSource(text) from error

    def _required(self) -> list[str]:
        source = self._spec.source
        return list(dict.fromkeys([source.id, source.time, *(field.name for field in self._spec.raw)]))

    def _check_header(self) -> None:
        missing = [name for name in self._required() if name not in self._header]
        if missing:
            found = ", ".join(self._header)
            raise BadSource(f"{self._path}: there is no column {', '.join(missing)}; the file has: {found}")
        twice = sorted({name for name in self._header if self._header.count(name) > 1})
        if twice:
            raise BadSource(f"{self._path}: there are two columns {', '.join(twice)}")

    def _label_column(self) -> LabelColumn:
        for column in self._spec.label.sources:
            if column.column in self._header:
                return column
        names = " or ".join(column.column for column in self._spec.label.sources)
        raise BadSource(f"{self._path}: there is no label column: expected {names}")

    def _row(self, cells: list[str]) -> SourceRow:
        if len(cells) != len(self._header):
            raise ValueError(f"{len(cells)} fields instead of {len(self._header)}")
        row = dict(zip(self._header, cells, strict=True))
        identity = row[self._spec.source.id].strip()
        if not identity:
            raise ValueError(f"{self._spec.source.id}: missing")
        raw = {field.name: typed(row[field.name], field.type, field.name) for field in self._spec.raw}
        for field in self._spec.raw:
            if field.required and raw[field.name] is None:
                raise ValueError(f"{field.name}: is required")
        return SourceRow(
            id=known_by_pseudonym(identity, self._key) if self._hashed_id else identity,
            event_time=instant(row[self._spec.source.time], self._spec.source.time),
            raw=filtered(raw, self._spec.raw, self._key),
            label=label_of(row[self.label_column.column], self.label_column),
        )


def typed(text: str, kind: FieldType, name: str) -> Any:  # noqa: ANN401 - of the declared type
    """The value of a cell; None where it is empty. Raises ValueError without repeating what was in it."""
    if kind == "string":
        return text or None
    word = text.strip().lower()
    if word in _MISSING:
        return None
    if kind == "boolean":
        if word not in _TRUE | _FALSE:
            raise ValueError(f"{name}: expected boolean")
        return word in _TRUE
    number = _number(word, kind, name)
    try:
        check_number(number)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return number


def _number(word: str, kind: FieldType, name: str) -> float:
    try:
        number = float(word)
        if kind == "number":
            return number
        if number.is_integer():
            return int(word) if word.lstrip("+-").isdecimal() else int(number)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{name}: expected {kind}") from None


def instant(text: str, name: str) -> datetime:
    """The time in UTC; one without a zone is taken as UTC. Raises ValueError."""
    try:
        value = datetime.fromisoformat(text.strip())
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: not a time such as 2020-12-12 11:55:28") from None
    try:
        check_moment(moment)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return moment


def label_of(text: str, column: LabelColumn) -> int | None:
    """The label in a cell, None where it is empty. Raises ValueError."""
    if column.above is None:
        value = typed(text, "boolean", column.column)
        return None if value is None else int(value)
    number = typed(text, "number", column.column)
    return None if number is None else int(number > column.above)
