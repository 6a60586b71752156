"""Scores raw rows with a version, offline: `python -m pipeline.score --help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bundle.blobs import BlobCorrupt, BlobStore
from bundle.columns import BadRow, raw_columns
from bundle.home import Home
from bundle.privacy import filtered
from bundle.recipe import RecipeError
from bundle.scorer import ModelRefused, Scorer


def score_rows(scorer: Scorer, rows: list[dict[str, Any]], key: bytes = b"") -> dict[str, list[Any]]:
    """Scores and predictions of raw rows, behind the privacy filter as in serving; None for a row that has none."""
    fields = scorer.signature.raw
    if not rows:
        return {"scores": [], "predictions": []}
    try:
        _, scores = scorer.score(raw_columns([filtered(row, fields, key) for row in rows], fields))
    except (RecipeError, BadRow):
        if len(rows) == 1:
            return {"scores": [None], "predictions": [None]}
        # One row spoils a batch. In halves, so that it alone goes without a score.
        middle = len(rows) // 2
        one, other = score_rows(scorer, rows[:middle], key), score_rows(scorer, rows[middle:], key)
        return {name: one[name] + other[name] for name in one}
    return {"scores": scores.tolist(), "predictions": scorer.answer(scores).tolist()}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2: the version cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.score", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the data folder")
    parser.add_argument("--manifest", required=True, help="digest of the version's manifest")
    parser.add_argument("--rows", type=Path, required=True, help="raw rows, one JSON object a line")
    parser.add_argument("--out", type=Path, required=True, help="where scores and predictions are written")
    options = parser.parse_args(arguments)
    try:
        scorer = Scorer.load(BlobStore(Home(options.home).blobs), options.manifest)
        text = options.rows.read_text(encoding="utf-8")
        answer = score_rows(scorer, [json.loads(line) for line in text.split("\n") if line.strip()])
    except (OSError, ValueError, BlobCorrupt, ModelRefused, RecipeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    options.out.write_text(json.dumps({"manifest": options.manifest, **answer}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
