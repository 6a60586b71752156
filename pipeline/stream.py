"""Turns a source file into the requests it would have been: `python -m pipeline.stream` writes one JSON object a line.

The rows pass the same door as in ingest; what is refused there is refused here, and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import orjson

from bundle.home import Home
from pipeline.contract.specfile import SpecInvalid, read_recipe
from pipeline.csvsource import CsvSource, SourceRow
from pipeline.errors import BadSource
from pipeline.settings import privacy_key


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        spec, _ = read_recipe(options.recipe)
        source = CsvSource(options.file, spec, privacy_key(Home(options.home), spec))
        counts = write_rows(source, options.out)
    except (BadSource, SpecInvalid, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(counts) + "\n")
    return 0


def write_rows(source: CsvSource, out: Path) -> dict[str, int]:
    """Write the labelled rows as id, event_time, raw and label; returns how many were written and left out."""
    counts = {"rows": 0, "unlabelled": 0, "refused": 0}
    with out.open("wb") as file:
        for row in source.rows():
            kind = _kind(row)
            counts[kind] += 1
            if kind == "rows" and isinstance(row, SourceRow):
                line = {"id": row.id, "event_time": row.event_time, "raw": row.raw, "label": row.label}
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return counts


def _kind(row: object) -> str:
    if not isinstance(row, SourceRow):
        return "refused"
    return "unlabelled" if row.label is None else "rows"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stream", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the data folder")
    parser.add_argument("--recipe", type=Path, required=True, help="a folder with model.yaml")
    parser.add_argument("--file", type=Path, required=True, help="the CSV file")
    parser.add_argument("--out", type=Path, required=True, help="where the rows are written, one JSON object a line")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
