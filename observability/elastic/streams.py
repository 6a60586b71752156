"""One data stream for each kind of event, and the templates that make them what they are.

A data stream is made by Elasticsearch when the first document comes, whoever ships it, so the templates have to be
there before: `driftgate logs setup`. They hold for exactly one stream each and outrank the built-in ones for
`logs-*-*`. Fields are typed here and nowhere else: what is not named is kept and shown, but adds no field to a mapping,
so features that nobody declared never make one grow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import orjson
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from observability.documents import DATASET_PREFIX
from observability.elastic.client import answering
from observability.elastic.control_fields import (
    CONTROL_FIELDS,
    CONTROL_KINDS,
    COUNT,
    INSTANT,
    KEYWORD,
    NAMED_VALUES,
    NUMBER,
    TEXT,
    properties,
)  # fmt: skip
from observability.settings import Settings

Json: TypeAlias = dict[str, Any]

#: template -> the kinds whose streams it makes; what the control plane says is alike, and so one
MADE_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind: (kind,) for kind in ("prediction", "label", "service")},
    "control": CONTROL_KINDS,
}
KINDS: Final[tuple[str, ...]] = tuple(kind for kinds in MADE_BY.values() for kind in kinds)
#: above the 100 of the templates that Elasticsearch brings for logs-*-*
PRIORITY: Final = 500
#: grows with every change of the mappings below; templates of a later release are left as they are
SCHEMA: Final = 2
#: what each mapping may have at most; it has less than half, and none is ever added by a document
FIELDS_LIMIT: Final = 400
#: characters of a feature's value that is counted and makes a segment: a term with its name may have 32,766 bytes
LONGEST_VALUE: Final = 8_191
_KEPT_ONLY: Final[Json] = {"type": "keyword", "index": False, "doc_values": False}
#: what an Elasticsearch without data stream lifecycles answers to a call of them
_NO_SUCH_CALL: Final = frozenset({400, 404, 405})

_FRAME: Final[Json] = {
    # not of type `date`: a window's ends are told apart by microseconds
    "@timestamp": {**INSTANT, "ignore_malformed": False},
    "ecs": properties(version=KEYWORD),
    "event": properties(
        # sorted by among the few events of one instant, and nowhere looked up: it is the document's id
        id={**KEYWORD, "index": False}, kind=KEYWORD, dataset=KEYWORD, created=INSTANT, ingested=INSTANT, duration=COUNT
    ),
    "http": properties(request=properties(id=KEYWORD)),
}  # fmt: skip
_OWN: Final[Json] = {"schema_version": COUNT, "model": KEYWORD}
_SAMPLED: Final[Json] = {**_OWN, "sample_key": _KEPT_ONLY, "sample_point": COUNT}
_PREDICTION: Final[Json] = {
    "driftgate": properties(
        **_SAMPLED, version=COUNT, role=KEYWORD, score=NUMBER, prediction=COUNT, score_ms=NUMBER, missing=KEYWORD,
        rival=properties(version=COUNT, score=NUMBER, ms=NUMBER),
        features={**NAMED_VALUES, "ignore_above": LONGEST_VALUE},
        raw={**NAMED_VALUES, "doc_values": False},
    )
}  # fmt: skip
#: labels were of type `long` in schema 1, which cuts decimals off without a word. Only whole numbers were written then:
#: they stay where they are, and the stream goes on in a backing index of this mapping
_LABEL: Final[Json] = {"driftgate": properties(**_SAMPLED, prediction_id=KEYWORD, label=NUMBER)}
_SERVICE: Final[Json] = {
    "message": TEXT,
    "log": properties(level=KEYWORD, logger=KEYWORD),
    "service": properties(name=KEYWORD),
    "host": properties(name=KEYWORD),
    "process": properties(pid=COUNT),
    "error": properties(type=KEYWORD, message=TEXT, stack_trace=_KEPT_ONLY),
    "driftgate": properties(**_OWN),
}
_CONTROL: Final[Json] = {
    "driftgate": properties(**_OWN, **{kind: properties(**fields) for kind, fields in CONTROL_FIELDS.items()})
}


@dataclass(frozen=True)
class Template:
    """A template as it has to be in the cluster."""

    kind: Literal["component template", "index template"]
    name: str
    body: Json

    @property
    def meta(self) -> Json:
        """Says whose it is, and has the digest of its body: equal where nothing has to be done."""
        return {"managed_by": "driftgate", "schema": SCHEMA, "digest": _digest(self.body)}


def stream_of(kind: str, namespace: str) -> str:
    """The data stream of a kind of events.

    >>> stream_of("prediction", "default")
    'logs-driftgate.prediction-default'
    """
    return f"logs-{DATASET_PREFIX}{kind}-{namespace}"


def mapping_of(kind: str) -> Json:
    """The fields of a kind's documents; those of all control kinds are one mapping."""
    own = {"prediction": _PREDICTION, "label": _LABEL, "service": _SERVICE}.get(kind, _CONTROL)
    return {"dynamic": False, "properties": {**_FRAME, **own}}


def templates(settings: Settings) -> list[Template]:
    """All that an installation needs, in the order in which they are put."""
    name = f"driftgate-{settings.namespace}@settings"
    common = Template("component template", name, {"template": {"settings": _index_settings(settings)}})
    return [common, *(_index_template(name, kinds, common, settings) for name, kinds in MADE_BY.items())]


def pending(client: Elasticsearch, settings: Settings) -> list[str]:
    """What `setup` would do, in words; nothing where the cluster is as it should be. Raises LogStoreUnavailable."""
    with answering():
        wanting = [f"{template.kind} {template.name}" for template in _wanting(client, settings)]
        return wanting + [f"rollover of {stream}" for stream in _outdated(client, settings)]


def setup(client: Elasticsearch, settings: Settings) -> list[str]:
    """Bring the cluster's templates to this release and these settings; says what was done, nothing the second time.

    A stream that was made otherwise, by an older release or before there were templates, goes on in a new backing
    index; what it holds stays. Killed half-way, the next call does the rest. Raises LogStoreUnavailable.
    """
    done: list[str] = []
    with answering():
        for template in _wanting(client, settings):
            _put(client, template)
            done.append(f"{template.kind} {template.name}")
        for stream in _outdated(client, settings):
            done += _keep_for(client, stream, retention_of(stream, settings))
            client.indices.rollover(alias=stream)
            done.append(f"rollover of {stream}")
    return done


def retention_of(stream: str, settings: Settings) -> timedelta | None:
    """How long a stream's documents are kept; None: for ever, for what the control plane said is little."""
    if stream in {stream_of(kind, settings.namespace) for kind in ("prediction", "label")}:
        return settings.retention
    return settings.service_retention if stream == stream_of("service", settings.namespace) else None


def _index_settings(settings: Settings) -> Json:
    return {
        "index": {
            "number_of_shards": settings.elasticsearch_shards,
            "auto_expand_replicas": f"0-{settings.elasticsearch_replicas}",
            "refresh_interval": "1s",
            "translog": {"durability": "request"},
            "mapping": {"total_fields": {"limit": FIELDS_LIMIT}},
        }
    }


def _index_template(name: str, kinds: Sequence[str], common: Template, settings: Settings) -> Template:
    made, custom = [stream_of(kind, settings.namespace) for kind in kinds], f"driftgate-{settings.namespace}@custom"
    template: Json = {
        # a control event is kept whatever its form; a prediction or label that does not fit is refused
        "settings": {"index": {"mapping": {"ignore_malformed": name == "control"}}},
        "mappings": mapping_of(kinds[0]),
        "lifecycle": _lifecycle(retention_of(made[0], settings)),
    }
    # each backing index says which templates made it
    template["mappings"]["_meta"] = {"driftgate": _digest([template, common.body]), "schema": SCHEMA}
    body: Json = {
        "index_patterns": made,
        "data_stream": {},
        "priority": PRIORITY,
        "composed_of": [common.name, custom],
        "ignore_missing_component_templates": [custom],
        "template": template,
    }
    return Template("index template", stream_of(name, settings.namespace), body)


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _lifecycle(retention: timedelta | None) -> Json:
    return {} if retention is None else {"data_retention": f"{round(retention.total_seconds())}s"}


def _wanting(client: Elasticsearch, settings: Settings) -> list[Template]:
    """The templates that the cluster does not have, or has in another form and of no later release."""
    wanting = []
    for template in templates(settings):
        there = _meta_there(client, template)
        if there.get("digest") != template.meta["digest"] and there.get("schema", 0) <= SCHEMA:
            wanting.append(template)
    return wanting


def _meta_there(client: Elasticsearch, template: Template) -> Json:
    try:
        if template.kind == "component template":
            found = client.cluster.get_component_template(name=template.name)["component_templates"]
            there = found[0]["component_template"]
        else:
            there = client.indices.get_index_template(name=template.name)["index_templates"][0]["index_template"]
    except NotFoundError:
        return {}
    meta: Json = there.get("_meta", {})
    return meta


def _outdated(client: Elasticsearch, settings: Settings) -> list[str]:
    """The streams whose newest backing index was not made by the templates of now."""
    found = client.indices.get_mapping(index=stream_of("*", settings.namespace), allow_no_indices=True)
    made_by = {index: each["mappings"].get("_meta", {}) for index, each in found.items()}
    outdated = []
    for template in templates(settings)[1:]:
        wanted = template.body["template"]["mappings"]["_meta"]["driftgate"]
        for stream in template.body["index_patterns"]:
            # .ds-<stream>-<date>-<generation>
            backing = [index for index in made_by if index.rsplit("-", 2)[0] == f".ds-{stream}"]
            newest = made_by[max(backing, key=generation_of)] if backing else None
            if newest is not None and newest.get("driftgate") != wanted and newest.get("schema", 0) <= SCHEMA:
                outdated.append(stream)
    return outdated


def generation_of(index: str) -> int:
    """How many backing indices its stream had made with this one."""
    return int(index.rpartition("-")[2])


def _put(client: Elasticsearch, template: Template) -> None:
    if template.kind == "component template":
        client.cluster.put_component_template(name=template.name, **template.body, meta=template.meta)
    else:
        client.indices.put_index_template(name=template.name, **template.body, meta=template.meta)


def _keep_for(client: Elasticsearch, stream: str, retention: timedelta | None) -> list[str]:
    """Give a stream that exists its retention: a template is asked only when a stream is made."""
    try:
        client.indices.put_data_lifecycle(name=stream, **_lifecycle(retention))
    except ApiError as error:
        if error.status_code not in _NO_SUCH_CALL:
            raise
        return [f"not the retention of {stream}: this Elasticsearch has no data stream lifecycles"]
    return [f"retention of {stream}"]
