"""What the embedded log store asks DuckDB; {predictions}, {labels}, {control}: a model's segments."""

from __future__ import annotations

from typing import Final

_SPAN: Final = """
    FROM {predictions}
    WHERE role = 'production' AND ($version IS NULL OR version = $version)
        AND event_time BETWEEN $after_time AND $until_time
        AND (event_time > $after_time OR id > $after_id)
        AND (event_time < $until_time OR id <= $until_id)
        AND ($feature IS NULL OR json_extract_string(features, $feature) = $value)
"""

#: the prediction at a place behind a cursor
BEHIND: Final = """
    SELECT event_time, id
    FROM {predictions}
    WHERE role = 'production' AND version = $version
        AND event_time >= $time AND (event_time > $time OR id > $id)
    ORDER BY event_time, id
    LIMIT 1 OFFSET $skip
"""

#: what is exact about a span
COUNTS: Final = """
    WITH span AS (SELECT id {span})
    SELECT
        (SELECT count(*) FROM span) AS rows,
        (SELECT count(*) FROM span WHERE id IN (SELECT prediction_id FROM {labels})) AS labelled
""".replace("{span}", _SPAN)

#: what a rollup of a span counts
ROLLUP_ROWS: Final = "SELECT latency_ms, features {span}".replace("{span}", _SPAN)

#: the predictions of a span with the k smallest sample keys, each with its latest label: by label time (a
#: label's event time), then by arrival, then by id
SAMPLE: Final = """
    WITH chosen AS (
        SELECT id, event_time, version, score, prediction, features, sample_key {span}
        ORDER BY sample_key, id LIMIT $k
    ), latest AS (
        SELECT prediction_id, label FROM {labels} WHERE prediction_id IN (SELECT id FROM chosen)
        QUALIFY row_number() OVER (
            PARTITION BY prediction_id ORDER BY event_time DESC, observed_time DESC, id DESC
        ) = 1
    )
    SELECT chosen.* EXCLUDE sample_key, label
    FROM chosen LEFT JOIN latest ON prediction_id = chosen.id
    ORDER BY sample_key, chosen.id
""".replace("{span}", _SPAN)

#: the events in which two versions scored the same row, whoever of them answered, seen from the champion
_PAIRS: Final = """
    WITH pairs AS (
        SELECT
            id, sample_key,
            CASE WHEN version = $champion THEN score ELSE rival_score END AS champion,
            CASE WHEN version = $champion THEN rival_score ELSE score END AS challenger,
            CASE WHEN version = $champion THEN score_ms ELSE rival_ms END AS champion_ms,
            CASE WHEN version = $champion THEN rival_ms ELSE score_ms END AS challenger_ms
        FROM {predictions}
        WHERE observed_time >= $time
            AND ((version = $champion AND rival_version = $challenger)
                OR (version = $challenger AND rival_version = $champion))
    ), latest AS (
        SELECT prediction_id, label FROM {labels} WHERE prediction_id IN (SELECT id FROM pairs)
        QUALIFY row_number() OVER (
            PARTITION BY prediction_id ORDER BY event_time DESC, observed_time DESC, id DESC
        ) = 1
    ), labelled AS (
        SELECT label, champion, challenger, sample_key, id
        FROM pairs JOIN latest ON prediction_id = id
        WHERE champion IS NOT NULL AND challenger IS NOT NULL
    )
"""

PAIR_COUNTS: Final = """
    {pairs}
    SELECT
        count(*) AS rows,
        count(*) FILTER (challenger IS NULL) AS failed,
        (SELECT count(*) FROM labelled) AS labelled,
        quantile_cont(champion_ms, 0.99) AS champion_ms_p99,
        quantile_cont(challenger_ms, 0.99) AS challenger_ms_p99
    FROM pairs
""".replace("{pairs}", _PAIRS)

PAIRED_ROWS: Final = """
    {pairs}
    SELECT label, champion, challenger FROM labelled ORDER BY sample_key, id LIMIT $k
""".replace("{pairs}", _PAIRS)

LABELLED_AFTER: Final = """
    SELECT count(*) AS labelled FROM {predictions}
    WHERE role IN ('production', 'canary') AND event_time > $time AND id IN (SELECT prediction_id FROM {labels})
"""

SERVED_ROWS: Final = """
    SELECT id, event_time, observed_time, raw FROM {predictions}
    WHERE role IN ('production', 'canary') AND observed_time >= $time ORDER BY observed_time, id
"""

LABEL_ROWS: Final = """
    SELECT prediction_id, label, event_time, observed_time FROM {labels}
    WHERE observed_time >= $time ORDER BY observed_time, id
"""

NEWEST: Final = {
    "predictions": "SELECT * FROM {predictions} ORDER BY observed_time DESC, id DESC LIMIT $limit",
    "labels": "SELECT * FROM {labels} ORDER BY observed_time DESC, id DESC LIMIT $limit",
    "control": "SELECT * FROM {control} WHERE kind = $kind ORDER BY observed_time DESC, id DESC LIMIT $limit",
    "service": "SELECT * FROM {service} ORDER BY observed_time DESC, id DESC LIMIT $limit",
}
