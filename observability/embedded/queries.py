"""What the embedded log store asks DuckDB; {predictions}, {labels}, ...: segments, {tallies}: the files beside them."""

from __future__ import annotations

from typing import Final

#: predictions between two cursors; `low` and `high` narrow it to a stretch of event times
IN_SPAN: Final = """
    FROM {predictions}
    WHERE event_time BETWEEN $low AND $high
        AND (event_time > $after_time OR id > $after_id)
        AND (event_time < $until_time OR id <= $until_id)
        AND list_contains($roles, role) AND ($version IS NULL OR version = $version)
"""
#: added to it for one segment
OF_SEGMENT: Final = """
        AND json_type(features, $feature) = 'VARCHAR' AND json_extract_string(features, $feature) = $value
"""
#: added to it for those with the smallest sample keys
BELOW: Final = " AND sample_key <= $bound"

COUNT: Final = "SELECT count(*) AS rows {span}"
ROLLED_ROWS: Final = "SELECT latency_ms, features {span}"
COUNT_BY_STEP: Final = """
    SELECT event_time - (event_time % $step + $step) % $step AS start, count(*) AS rows {span} GROUP BY start
"""
#: the prediction at a place behind a cursor
AT_PLACE: Final = "SELECT event_time, id {span} ORDER BY event_time, id LIMIT 1 OFFSET $skip"

_TALLIED: Final = """
    FROM {tallies}
    WHERE start >= $first AND start < $behind
        AND list_contains($roles, role) AND ($version IS NULL OR version = $version)
"""
TALLIED: Final = (
    "SELECT measure, name, CASE measure WHEN 'latency' THEN value ELSE '' END AS value, sum(count)::BIGINT AS count"
    + _TALLIED
    + " AND measure IN ('rows', 'present', 'latency') GROUP BY ALL"
)
TALLIED_COUNT: Final = "SELECT sum(count)::BIGINT AS rows" + _TALLIED + " AND measure = 'rows'"
TALLIED_OF_SEGMENT: Final = (
    "SELECT sum(count)::BIGINT AS rows" + _TALLIED + " AND measure = 'value' AND name = $name AND value = $value"
)
TALLIED_BY_STEP: Final = (
    "SELECT start - (start % $step + $step) % $step AS start, sum(count)::BIGINT AS rows"
    + _TALLIED
    + " AND measure = 'rows' GROUP BY ALL"
)

SAMPLE: Final = """
    SELECT id, event_time, version, score, prediction, features, sample_key {span} ORDER BY sample_key, id LIMIT $k
"""
#: with the raw fields, of which some are asked for
SAMPLE_WITH_RAW: Final = SAMPLE.replace("features, ", "features, raw, ")
ROLLED_BELOW: Final = "SELECT latency_ms, features {span} ORDER BY sample_key, id LIMIT $k"
KEYS: Final = "SELECT id, sample_key {span} ORDER BY sample_key, id LIMIT $k"

#: the last label of each prediction that was chosen: by label time (a label's event time), by arrival, by id
LATEST_LABELS: Final = """
    SELECT prediction_id, label FROM {labels}
    WHERE sample_key <= $bound AND prediction_id BETWEEN $first AND $last
        AND prediction_id IN (SELECT id FROM chosen)
    QUALIFY row_number() OVER (PARTITION BY prediction_id ORDER BY event_time DESC, observed_time DESC, id DESC) = 1
"""

#: the events in which two versions scored the same row, whoever of them answered
_PAIRS: Final = """
    FROM {predictions}
    WHERE observed_time >= $low AND observed_time < $behind
        AND ((version = $champion AND rival_version = $challenger)
            OR (version = $challenger AND rival_version = $champion))
"""
PAIR_COUNTS: Final = (
    """
    SELECT count(*) AS rows, count(*) FILTER (version = $champion AND rival_score IS NULL) AS failed
"""
    + _PAIRS
)
TALLIED_PAIRS: Final = """
    SELECT
        sum(count)::BIGINT AS rows,
        sum(count) FILTER (version = $champion AND value = 'failed')::BIGINT AS failed
    FROM {tallies}
    WHERE measure = 'pair' AND start >= $first
        AND ((version = $champion AND name = $challenger::VARCHAR)
            OR (version = $challenger AND name = $champion::VARCHAR))
"""
#: those with the smallest sample keys, seen from the champion
PAIRS: Final = (
    """
    SELECT
        id, sample_key,
        CASE WHEN version = $champion THEN score ELSE rival_score END AS champion,
        CASE WHEN version = $champion THEN rival_score ELSE score END AS challenger,
        CASE WHEN version = $champion THEN score_ms ELSE rival_ms END AS champion_ms,
        CASE WHEN version = $champion THEN rival_ms ELSE score_ms END AS challenger_ms
"""
    + _PAIRS
    + " AND sample_key <= $bound ORDER BY sample_key, id LIMIT $k"
)

SERVED_ROWS: Final = """
    SELECT id, event_time, observed_time, raw FROM {predictions}
    WHERE role IN ('production', 'canary') AND observed_time >= $time ORDER BY observed_time, id
"""
LABEL_ROWS: Final = """
    SELECT prediction_id, label, event_time, observed_time FROM {labels}
    WHERE observed_time >= $time ORDER BY observed_time, id
"""
NEWEST: Final = "SELECT * FROM {{{table}}} ORDER BY observed_time DESC, id DESC LIMIT $limit"
NEWEST_CONTROL: Final = """
    SELECT * FROM {control} WHERE kind = $kind ORDER BY observed_time DESC, id DESC LIMIT $limit
"""
