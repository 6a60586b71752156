"""Columns as revisions spell them. A revision that was released never changes, so neither does what is here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Column, DateTime, Float, Integer, MetaData, String, Table, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn, Index


def words(name: str, *more: Any, size: int | None = None, **options: Any) -> Column[str]:  # noqa: ANN401
    """Text; a state is text too, without a check, so that a later release may know more states."""
    return Column(name, String(size), *more, **({"nullable": False} | options))


def state(name: str = "state") -> Column[str]:
    """One word of a lifecycle."""
    return words(name, size=32)


def whole(name: str, *more: Any, **options: Any) -> Column[int]:  # noqa: ANN401
    """A whole number."""
    return Column(name, Integer, *more, **({"nullable": False} | options))


def real(name: str, **options: Any) -> Column[float]:  # noqa: ANN401
    """A number with a fraction."""
    return Column(name, Float, **({"nullable": False} | options))


def flag(name: str) -> Column[bool]:
    """True or false."""
    return Column(name, Boolean, nullable=False)


def instant(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401
    """An instant in UTC."""
    return Column(name, DateTime(timezone=True), **({"nullable": False} | options))


def json(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401
    """A JSON value."""
    return Column(name, JSON, **({"nullable": False} | options))


def where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def complete(connection: Connection, schema: MetaData) -> None:
    """Make every table, column and index of the schema that is not there; rows that are there stay.

    A column that is missing may be null or has a default, else it cannot be added.
    """
    schema.create_all(connection)
    for table in schema.sorted_tables:
        _complete_table(connection, table)


def _complete_table(connection: Connection, table: Table) -> None:
    there = inspect(connection)
    known = {column["name"] for column in there.get_columns(table.name)}
    for column in table.columns:
        if column.name not in known:
            declared = CreateColumn(column).compile(connection)
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {declared}"))
    indexed = {index["name"] for index in there.get_indexes(table.name)}
    for index in sorted(table.indexes, key=_name):
        if index.name not in indexed:
            index.create(connection)


def _name(index: Index) -> str:
    return str(index.name)
