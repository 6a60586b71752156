"""The model that serving answers with: the recipe of flights, trained on made-up rows in a second."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

import numpy as np

from bundle.blobs import BlobStore, digest_of
from bundle.columns import raw_columns
from bundle.manifest import FEATURES, GOLDEN, MODEL, REFERENCE, Manifest
from bundle.recipe import Recipe
from pipeline.contract.specfile import read_recipe
from pipeline.engines.sklearn import SklearnEngine
from recipes.flights.training import pipeline

MODEL_ID: Final = "default/flights"
_RECIPE: Final = Path(__file__).parents[2] / "recipes" / "flights"
_ROWS: Final = 2_000


def flight(chance: random.Random) -> dict[str, Any]:
    """A row as a caller sends it."""
    hour = chance.randint(5, 23)
    return {
        "departs_at": f"2013-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}T{hour:02d}:00:00-05:00",
        "scheduled_hour": hour, "distance": chance.randint(100, 2_500), "carrier": chance.choice(("AA", "B6", "UA")),
        "origin": chance.choice(("JFK", "LGA", "EWR")), "dest": chance.choice(("LAX", "ORD", "BOS", "ATL", "MIA")),
    }  # fmt: skip


def make_flights(blobs: BlobStore) -> str:
    """Store a version; returns its manifest's digest."""
    spec, sources = read_recipe(_RECIPE)
    chance = random.Random(7)
    rows = [flight(chance) for _ in range(_ROWS)]
    features = Recipe(sources["features.py"], "features", spec.signature).features(raw_columns(rows, spec.raw))
    labels = np.array([int(row["scheduled_hour"] + chance.gauss(0, 4) > 16) for row in rows], dtype=np.int64)
    fitted = SklearnEngine().fit(pipeline, spec.signature, features, labels)
    scores = fitted.score({name: column[:20] for name, column in features.items()})
    golden = {"rows": rows[:20], "scores": [float(score) for score in scores]}
    files = {
        MODEL: fitted.export(), FEATURES: sources["features.py"].encode(), GOLDEN: json.dumps(golden).encode(),
        REFERENCE: b"none",
    }  # fmt: skip
    names = {name: digest_of(data) for name, data in files.items()}
    for data in files.values():
        blobs.put(data)
    return blobs.put(Manifest(signature=spec.signature, features_function="features", files=names).encode())
