"""The reading side of the embedded log store: questions about one manifest, answered by an in-memory DuckDB."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from observability.embedded import tallies
from observability.embedded.manifest import LogManifest, LogSegment, ManifestFile
from observability.embedded.tables import SCHEMAS, TableName
from observability.ids import new_id
from observability.ports import LogStoreUnavailable

Answer = TypeVar("Answer")
#: memory that one question may take before it goes on in files
MEMORY_LIMIT: Final = "384MB"
_ATTEMPTS: Final = 4
_PARAMETER: Final = re.compile(r"\$(\w+)")
#: rows of a frame, where all are handed out
_BATCH: Final = 50_000
#: segments of any age as one table: a column that one of them, or all of them, lacks is null
_READ: Final = "(SELECT * FROM read_parquet(${table}, union_by_name = true) UNION ALL BY NAME SELECT * FROM no_{table})"
_READ_TALLIES: Final = "read_parquet($tallies)"


class View:
    """The store at one moment: what is asked of one view fits together."""

    def __init__(self, manifest: LogManifest, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.manifest = manifest
        self._folder = folder
        self._duckdb = connection

    def ask(
        self,
        query: str,
        table: TableName,
        segments: Sequence[LogSegment],
        values: Mapping[str, Any],
        **beside: pa.Table,
    ) -> pa.Table:
        """The answer over these segments of a table; `beside` are further tables that the query names."""
        files = [str(self._folder / segment.file) for segment in segments]
        query = query.replace("{" + table + "}", _READ.format(table=table) if files else f"no_{table}")
        with self._duckdb.cursor() as cursor:
            for name, rows in beside.items():
                cursor.register(name, rows)
            return cursor.sql(query, params=_used(query, {**values, table: files})).to_arrow_table()

    def ask_tallies(self, query: str, segments: Sequence[LogSegment], values: Mapping[str, Any]) -> pa.Table:
        """The answer over the tallies beside these segments, of which there are some."""
        named = dict(values) | {"tallies": [str(self._folder / segment.tally_file) for segment in segments]}
        query = query.replace("{tallies}", _READ_TALLIES)
        with self._duckdb.cursor() as cursor:
            return cursor.sql(query, params=_used(query, named)).to_arrow_table()

    def each_batch(
        self, query: str, table: TableName, segment: LogSegment, values: Mapping[str, Any]
    ) -> Iterator[pa.Table]:
        """The answer over one segment, a part at a time."""
        query = query.replace("{" + table + "}", _READ.format(table=table))
        with self._duckdb.cursor() as cursor:
            found = cursor.sql(query, params=dict(values) | {table: [str(self._folder / segment.file)]})
            for batch in found.to_arrow_reader(_BATCH):
                yield pa.Table.from_batches([batch])


class SegmentReader:
    """Answers questions; threads may share it."""

    def __init__(self, root: Path, manifest: ManifestFile) -> None:
        self._folder = root / "segments"
        self._manifest = manifest
        self._duckdb = duckdb.connect(
            ":memory:",
            config={
                "threads": 2,
                "memory_limit": MEMORY_LIMIT,
                # the root may be another's to write
                "temp_directory": str(Path(tempfile.gettempdir()) / f"driftgate-{new_id()}"),
                "autoinstall_known_extensions": False,
                # footers are read again for each question: kept, they would grow with the store
                "parquet_metadata_cache": False,
            },
        )
        for table, schema in SCHEMAS.items():
            self._duckdb.from_arrow(schema.empty_table()).create(f"no_{table}")
        self._duckdb.from_arrow(tallies.SCHEMA.empty_table()).create("no_tallies")

    def close(self) -> None:
        self._duckdb.close()

    def view(self) -> View:
        """The store as it is now; its files stay readable for the writer's grace."""
        return View(self._manifest.read(), self._folder, self._duckdb)

    def answer(self, question: Callable[[View], Answer]) -> Answer:
        """What the question finds. Raises LogStoreUnavailable."""
        for attempt in range(_ATTEMPTS):
            try:
                return question(self.view())
            except duckdb.IOException as error:  # merged and deleted since: the manifest has its successor
                if attempt == _ATTEMPTS - 1:
                    raise LogStoreUnavailable(f"the log store cannot be read: {error}") from error
            except duckdb.OutOfMemoryException as error:
                raise LogStoreUnavailable(f"a question needs more than {MEMORY_LIMIT} and disk: {error}") from error
        raise AssertionError("unreachable")


def _used(query: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that the query names: DuckDB refuses others."""
    named = set(_PARAMETER.findall(query))
    return {name: value for name, value in values.items() if name in named}
