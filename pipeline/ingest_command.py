"""The command line of ingest: prints one JSON line, and exits with 2 where the source or the spec is bad."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path

from bundle.home import Home
from observability.clock import aware
from pipeline.batches import Batch, Layers
from pipeline.contract.spec import ModelSpec
from pipeline.contract.specfile import SpecInvalid, read_recipe
from pipeline.csvsource import instant
from pipeline.errors import BadSource
from pipeline.ingest import ingest_csv
from pipeline.settings import privacy_key


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    home = Home(options.home)
    try:
        spec = _spec(options)
        layers = Layers(home.layers(spec.model))
        batch, new = ingest_csv(layers, spec, options.file, privacy_key(home, spec), options.until)
    except (BadSource, SpecInvalid, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(_result(batch, new)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.ingest_command", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the data folder")
    spec = parser.add_mutually_exclusive_group(required=True)
    spec.add_argument("--recipe", type=Path, help="a folder with model.yaml")
    spec.add_argument("--spec-json", type=Path, help="a file with the spec as JSON")
    parser.add_argument("--file", type=Path, required=True, help="the CSV file")
    parser.add_argument("--until", type=_until, help="take only rows before this instant")
    return parser


def _until(text: str) -> datetime:
    try:
        return aware(instant(text, "--until"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _spec(options: argparse.Namespace) -> ModelSpec:
    if options.recipe is not None:
        return read_recipe(options.recipe)[0]
    try:
        return ModelSpec.model_validate_json(options.spec_json.read_bytes())
    except OSError as error:
        raise BadSource(f"{options.spec_json}: cannot be read: {error.strerror}") from error


def _result(batch: Batch, new: bool) -> dict[str, object]:
    period = [moment.isoformat() for moment in batch.period] if batch.period else None
    return {
        "batch": batch.name, "new": new, "rows": batch.rows, "refused": batch.refused, "labels": batch.labels,
        "period": period, "label_column": batch.label_column,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
