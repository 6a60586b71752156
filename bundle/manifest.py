"""The manifest: the files of a version by digest. Its own digest names the version's bytes as a whole."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from bundle.blobs import BlobStore
from bundle.signature import Frozen, Signature

MODEL: Final = "model.onnx"
FEATURES: Final = "features.py"
GOLDEN: Final = "golden.json"
REFERENCE: Final = "reference.parquet"


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Manifest(Frozen):
    """Everything needed to answer with a version and to watch it.

    Files: `model.onnx`; `features.py`, the recipe's feature module; `golden.json`, raw rows with the scores that the
    training engine gave them; `reference.parquet`, feature columns, `score` and `label` of the version's reference.
    Of a version that is served elsewhere and only watched here the reference alone.
    """

    schema_version: int = 1
    signature: Signature
    #: the function in features.py that turns raw columns into feature columns; empty where it is only watched
    features_function: str
    #: scores above it answer 1
    threshold: float = 0.5
    #: file name to SHA-256; a name is that of a file and no path
    files: dict[FileName, str] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _is_whole(self) -> Manifest:
        if self.features_function and len(self.files) < 4:
            raise ValueError("files: a version that answers has four files at least")
        return self

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def read(cls, blobs: BlobStore, digest: str) -> Manifest:
        """The manifest stored under this digest. Raises FileNotFoundError, BlobCorrupt or pydantic.ValidationError."""
        return cls.model_validate_json(blobs.get(digest))
