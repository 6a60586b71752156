"""Metrics: what is counted is what was committed, what cannot be read is not told, and no port is opened to others."""

from __future__ import annotations

import logging
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from sqlalchemy.exc import OperationalError

from controlplane.access.acts import Act
from controlplane.metrics import committed, standing
from controlplane.metrics.committed import Committed
from controlplane.metrics.ticks import Ticks
from controlplane.store.measures import Measures
from observability.ports import LogStoreUnavailable
from observability.spool.writer import SpoolWriter
from observability.telemetry import shipping, storecalls
from observability.telemetry.metrics import Measure, Read, Requests, new_registry, told
from observability.telemetry.settings import MetricsSettings, MetricsUnsafe
from observability.telemetry.shipping import expiry_of, oldest_waiting
from tests.controlplane_world import MODEL, START, World

GAUGE = Measure("a_gauge", "gauge", "A gauge.", ("model",))


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_metrics_are_told_while_the_context_is_open(tmp_path):
    registry = new_registry()
    with told(registry, MetricsSettings(), free_port(), "X_PORT") as port:
        assert "process_cpu_seconds_total" in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_is_taken_costs_the_metrics_and_not_the_process(caplog):
    """Tests and benches that start a process beside another one with the default ports stand on this too."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with caplog.at_level(logging.WARNING), told(new_registry(), MetricsSettings(), taken, "X_PORT") as port:
            assert port is None
    assert f"no metrics: 127.0.0.1:{taken} is taken; choose another port with X_PORT" in caplog.text


def test_no_port_is_no_metrics():
    with told(new_registry(), MetricsSettings(), 0, "X_PORT") as port:
        assert port is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "metrics.example.com"])
def test_an_address_that_others_reach_is_refused_unless_somebody_says_so(host):
    with (
        pytest.raises(MetricsUnsafe, match="OBSERVABILITY_METRICS_OPEN"),
        told(new_registry(), MetricsSettings(host=host), 0, "X_PORT"),
    ):
        raise AssertionError("it went on")
    with told(new_registry(), MetricsSettings(host=host, open=True), 0, "X_PORT"):
        pass


def test_what_cannot_be_read_has_no_number_and_the_others_are_told(caplog):
    registry, asked = CollectorRegistry(), []

    def read() -> dict[Measure, float]:
        asked.append(1)
        raise OperationalError("SELECT 1", {}, ValueError("the database is away"))

    registry.register(Read((GAUGE,), read, fresh=0.0))
    Ticks(registry).measured("decide", lambda: None)()
    for _ in range(3):
        text = generate_latest(registry).decode()

    assert "# TYPE a_gauge gauge" in text and "a_gauge{" not in text
    assert 'driftgate_tick_duration_seconds_count{tick="decide"} 1.0' in text
    assert asked and caplog.text.count("cannot be read") == 1


def test_reading_takes_a_bounded_share_of_the_time():
    now, asked = [0.0], []

    def slowly() -> dict[Measure, float]:
        now[0] += 2.0
        asked.append(now[0])
        return {}

    read = Read((GAUGE,), slowly, fresh=5.0, monotonic=lambda: now[0])
    while now[0] < 400:
        read.collect()
        now[0] += 5.0

    assert len(asked) * 2.0 <= 0.06 * now[0]


def test_a_method_that_somebody_made_up_is_no_label():
    registry = CollectorRegistry()
    requests = Requests(registry, lambda _: "r")
    for number in range(100):
        requests({"method": f"M{number}", "query_string": b""}, 405, 0.1)

    assert value(registry, "driftgate_http_requests_total", method="other", route="r", status="405") == 100
    assert len(requests._answered) == 1


def test_a_request_that_waits_for_a_change_is_not_slow():
    registry = CollectorRegistry()
    requests = Requests(registry, lambda _: "r")
    requests({"method": "GET", "query_string": b"wait=30"}, 304, 30.0)
    requests({"method": "GET", "query_string": b""}, 200, 0.1)

    assert value(registry, "driftgate_http_requests_total", method="GET", route="r", status="304") == 1
    assert value(registry, "driftgate_http_request_duration_seconds_count", route="r") == 1
    assert value(registry, "driftgate_http_request_duration_seconds_sum", route="r") == 0.1
    below, within = (
        value(registry, "driftgate_http_request_duration_seconds_bucket", route="r", le=bound)
        for bound in ("0.05", "0.1")
    )
    assert (below, within) == (0, 1)


def test_what_was_committed_is_counted_and_what_was_taken_back_is_not(tmp_path):
    world, registry = World(tmp_path), CollectorRegistry()
    act = Act("alice", None, "api", "r-1", "a sale")
    with Committed(registry, committed.OF_CONTROL).counting(world.store._engine):
        run = world.ask()
        world.store.put_hold(MODEL, "rules", "a sale", None, START, "alice", act)
        with pytest.raises(ZeroDivisionError), world.store._writing() as session:
            world.store._audit(session, act, "hold.put", MODEL, None, None)
            session.flush()
            raise ZeroDivisionError
        world.tick()
        world.finish(run.key, world.made(champion=False))
        world.tick()
    world.store.put_hold(MODEL, "rollout", "a sale", None, START, "alice", act)

    assert value(registry, "driftgate_audit_entries_total", action="hold.put") == 1
    assert value(registry, "driftgate_firings_total", model=MODEL, trigger="manual") == 1
    assert value(registry, "driftgate_runs_ended_total", model=MODEL, state="succeeded") == 1


def test_a_statement_that_the_database_turned_away_is_counted(tmp_path):
    world, registry = World(tmp_path), CollectorRegistry()
    engine = world.store._engine
    with Committed(registry, committed.OF_CONTROL).counting(engine), engine.connect() as holder:
        holder.exec_driver_sql("PRAGMA busy_timeout=1")
        holder.rollback()
        with engine.connect() as other:
            other.exec_driver_sql("PRAGMA busy_timeout=1")
            other.rollback()
            other.exec_driver_sql("UPDATE models SET spec_digest = spec_digest")
            with pytest.raises(OperationalError, match="locked"):
                holder.exec_driver_sql("UPDATE models SET spec_digest = spec_digest")
            other.rollback()

    assert value(registry, "driftgate_database_busy_total") == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_how_things_stand_is_told_in_numbers(tmp_path, kind, request):
    database = request.getfixturevalue("postgres") if kind == "postgresql" else None
    world, registry = World(tmp_path, database=database), CollectorRegistry()
    registry.register(standing.standing(Measures(world.store._engine), world.clock, world.clock))
    registry.register(standing.watching(Measures(world.store._engine), world.clock))
    version = world.to_production()
    world.ask()
    world.store.observe(MODEL, version.number, START - timedelta(hours=2), 0, world.clock.now())
    world.clock.advance(timedelta(hours=1))

    assert value(registry, "driftgate_models") == 1
    assert value(registry, "driftgate_models_due") == 1
    assert value(registry, "driftgate_runs_active", state="asked") == 1
    assert value(registry, "driftgate_runs_active", state="running") == 0
    assert value(registry, "driftgate_alerts_open", severity="critical", state="firing") == 0
    assert (value(registry, "driftgate_outbox_waiting") or 0) > 0
    lag = value(registry, "driftgate_monitor_watermark_lag_seconds", model=MODEL)
    assert lag == (world.clock.now() - START + timedelta(hours=2)).total_seconds()


def test_a_tick_that_fails_is_counted_by_its_error_and_is_no_success():
    registry = CollectorRegistry()
    ticks = Ticks(registry)

    def fail() -> None:
        raise ZeroDivisionError

    tick = ticks.measured("runs", fail)
    begun = value(registry, "driftgate_tick_last_success_timestamp_seconds", tick="runs")
    with pytest.raises(ZeroDivisionError):
        tick()

    assert value(registry, "driftgate_tick_failures_total", tick="runs", reason="ZeroDivisionError") == 1
    assert value(registry, "driftgate_tick_last_success_timestamp_seconds", tick="runs") == begun


def test_calls_that_the_log_store_does_not_answer_are_counted_and_told_on():
    class Away:
        shards = 3

        def append(self, events: list[object]) -> list[object]:
            if not events:
                raise LogStoreUnavailable("away")
            return ["refused"]

    registry = CollectorRegistry()
    store = storecalls.counted(Away(), registry)  # type: ignore[arg-type]
    with pytest.raises(LogStoreUnavailable):
        store.append([])

    assert store.append([1]) == ["refused"] and store.shards == 3  # type: ignore[list-item,attr-defined,comparison-overlap]
    assert value(registry, "driftgate_log_store_unavailable_total", call="append") == 1
    assert value(registry, "driftgate_log_store_call_duration_seconds_count", call="append") == 1


def test_the_account_says_what_waits_and_since_when(tmp_path):
    with SpoolWriter(tmp_path / "serving-0") as writer:
        writer.write([b'{"event":{"created":"2026-01-01T00:00:00Z"}}', b"no event"])

    found = shipping.account(tmp_path, now=1767225600.0 + 90)

    assert (found[shipping.SPOOLED], found[shipping.WAITING], found[shipping.UNACCOUNTED]) == (2, 2, 0)
    assert found[shipping.OLDEST] == 90.0
    assert found[shipping.SPOOL_BYTES] == {("serving-0",): 54.0}
    assert oldest_waiting(tmp_path / "none", 1.0) == 0.0


def test_the_end_of_the_first_certificate_is_told(tmp_path: Path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-days"]
    text = ""
    for days in ("100", "10"):
        files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
        subprocess.run([*command, days, *files], check=True, capture_output=True)
        text += (tmp_path / "cert").read_text()
    (tmp_path / "both").write_text(text)

    ends, later = expiry_of(tmp_path / "both"), expiry_of(tmp_path / "cert")

    assert ends == later and expiry_of(None) is None
