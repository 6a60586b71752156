"""The signature: which raw fields go in, which features the model sees, what it answers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FieldType = Literal["string", "integer", "number", "boolean"]
FeatureType = Literal["numeric", "categorical"]
Privacy = Literal["keep", "mask", "hash"]
#: binary: the score is the probability of class 1; regression: it is the predicted number
Task = Literal["binary", "regression"]

_MODEL_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})/[a-z0-9](?:[a-z0-9-]{0,62})")
#: names of the columns that stand beside the raw fields in RAW, and beside the features in samples and references
RESERVED: Final[dict[str, frozenset[str]]] = {
    "raw": frozenset({"id", "event_time", "observed_time"}),
    "features": frozenset({"id", "event_time", "version", "score", "prediction", "label", "part"}),
}
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")


def _model_id(value: str) -> str:
    if not _MODEL_ID.fullmatch(value):
        raise ValueError(f"{value!r} is not a model id: write namespace/slug in lower case, such as default/tweets")
    return value


def _column(value: str) -> str:
    if not _COLUMN.fullmatch(value):
        raise ValueError(f"{value!r} is not a column name: use letters, digits and _, starting with a letter")
    return value


ModelId = Annotated[str, AfterValidator(_model_id)]
ColumnName = Annotated[str, AfterValidator(_column)]


class Frozen(BaseModel):
    """A value: immutable; an unknown field is an error, and so is a number that JSON has no word for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RawField(Frozen):
    """One field of a request, as the caller sends it and as a source file holds it."""

    name: ColumnName
    type: FieldType
    #: a row without it is refused
    required: bool = False
    #: keep as it is; mask mentions, e-mail addresses and numbers inside a text; hash to a keyed pseudonym.
    #: A field that is not declared is dropped: the declared fields are the allow-list.
    privacy: Privacy = "keep"

    @model_validator(mode="after")
    def _only_text_is_hidden(self) -> RawField:
        if self.privacy != "keep" and self.type != "string":
            raise ValueError(
                f"{self.name}: privacy {self.privacy} hides text, and the field is of type {self.type}: declare it as "
                "string, or leave it out"
            )
        return self


class Feature(Frozen):
    """One column that the model sees. Categorical features are text, numeric ones float32."""

    name: ColumnName
    type: FeatureType


class Signature(Frozen):
    """What a version takes and answers; shipped inside it, so that serving needs nothing else."""

    model: ModelId
    task: Task
    raw: tuple[RawField, ...] = Field(min_length=1)
    features: tuple[Feature, ...] = Field(min_length=1)
    label: ColumnName

    @model_validator(mode="after")
    def _names_are_unique(self) -> Signature:
        for kind, names in (
            ("raw", [f.name for f in self.raw]),
            ("features", [f.name for f in self.features]),
        ):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)
            if twice:
                raise ValueError(f"{kind}: declared twice: {', '.join(twice)}")
            taken = sorted(RESERVED[kind] & set(names))
            if taken:
                raise ValueError(f"{kind}: {', '.join(taken)} is a column of Driftgate's own: choose another name")
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)
