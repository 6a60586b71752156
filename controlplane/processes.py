"""The processes, put together: the one place where adapters meet the parts that use them."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from threadpoolctl import threadpool_limits

from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator
from controlplane.access.credentials import ensure_credentials, installation_key, let_in
from controlplane.access.safety import refuse_unsafe
from controlplane.alertfacts import Patience
from controlplane.api import Parts, create_app
from controlplane.api.app import Lifespan
from controlplane.environment import SERVING, TRAINING, handed_on
from controlplane.errors import Unsafe
from controlplane.loop.monitoring import reconcile_windows
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.scheduler import Ticker
from controlplane.loop.spooled import SpooledLines
from controlplane.loop.trainer import SubprocessTrainer
from controlplane.loop.watch import Watch
from controlplane.metrics import committed, standing
from controlplane.metrics.committed import Committed
from controlplane.metrics.requests import route_of
from controlplane.metrics.ticks import Ticks
from controlplane.notifying.assembly import open_channels
from controlplane.notifying.channels import Channel
from controlplane.notifying.deliverer import Deliverer
from controlplane.replayclock import clock_for
from controlplane.reports import ReportProcess
from controlplane.settings import Settings
from controlplane.store import Store, open_engine
from controlplane.store.measures import Measures
from observability.clock import Clock, SystemClock
from observability.logstores import open_log_store
from observability.ports import LogStoreUnavailable
from observability.settings import Settings as ShippingSettings
from observability.spool.dead_letters import DeadLetters, DeadLettersFull
from observability.spool.poison import PoisonWindow, TooMuchPoison
from observability.spool.reader import SpoolReader
from observability.spool.shipper import Shipper
from observability.telemetry import storecalls
from observability.telemetry.logs import set_up_logging
from observability.telemetry.metrics import Requests, new_registry, told
from observability.telemetry.requests import Named
from observability.telemetry.settings import MetricsSettings, MetricsUnsafe, refuse_open
from observability.telemetry.shipping import Shipping

LOG: Final = logging.getLogger(__name__)
#: so long a shipper that was stopped by refused lines is there to be asked why, before it ends and is started again
STANDSTILL_SECONDS: Final = 60.0
#: batches that are shipped after it was told to end
LAST_ROUNDS: Final = 3


def run_control(settings: Settings) -> None:
    """REST API, admin pages and the tick, until a signal ends them."""
    home = settings.folders
    credentials = ensure_credentials(home.credentials)
    refuse_unsafe(settings, credentials)
    with _telling("control", home.spool) as registry:
        engine = open_engine(settings.database, settings.migrate == "start")
        store = Store(engine)
        let_in(store, credentials)
        clock = clock_for(settings, store)
        registry.register(standing.standing(Measures(engine), clock, SystemClock()))
        with Committed(registry, committed.OF_CONTROL).counting(engine):
            _serve(settings, installation_key(settings, credentials), store, clock, registry)


def _serve(settings: Settings, hook_key: bytes, store: Store, clock: Clock, registry: CollectorRegistry) -> None:
    channels, lines = open_channels(settings, store), SpooledLines(settings.folders)
    reconciler = _reconciler(settings, store, clock, lines)
    runs, ticker, *deliveries = _tickers(settings, reconciler, channels, Ticks(registry))
    parts = Parts(
        store=store,
        blobs=reconciler.blobs,
        clock=clock,
        authenticator=Authenticator(store),
        instance_silence=settings.instance_silence,
        serving_url=settings.serving_url,
        trouble=lambda: ticker.trouble() or runs.trouble(),
        trusted_proxies=settings.trusted_proxies,
        behind_tls=settings.behind_tls,
        runbook_url=settings.runbook_url,
        hook_key=hook_key,
        lines=lines,
        reports=ReportProcess(settings.database, settings.folders),
    )
    app = create_app(parts, admin_pages(), _ticking(runs, ticker, *deliveries))
    try:
        uvicorn.run(
            Named(app, Requests(registry, route_of)), host=settings.host, port=settings.port, log_level="warning",
            log_config=None, access_log=False, proxy_headers=False, server_header=False, timeout_graceful_shutdown=10,
        )  # fmt: skip
    finally:
        lines.close()


def _reconciler(settings: Settings, store: Store, clock: Clock, lines: SpooledLines) -> Reconciler:
    home = settings.folders
    return Reconciler(
        store=store,
        trainer=SubprocessTrainer(home, environment=handed_on(os.environ, TRAINING, settings.pass_environment)),
        blobs=BlobStore(home.blobs),
        clock=clock,
        lines=lines,
        lease=settings.lease,
        instance_silence=settings.instance_silence,
        patience=Patience() if settings.clock == "system" else Patience(monitor=None),
    )


def _tickers(settings: Settings, reconciler: Reconciler, channels: Sequence[Channel], ticks: Ticks) -> list[Ticker]:
    """That of the runs, that which decides, and one for each channel, which delays no other."""
    acts = {"runs": reconciler.look_after_runs, "decide": reconciler.decide}
    for channel in channels:
        acts[f"notify {channel.name}"] = Deliverer(reconciler.store, channel, reconciler.owner, reconciler.at).once
    return [Ticker(ticks.measured(name, act), settings.tick) for name, act in acts.items()]


def run_monitor(settings: Settings) -> None:
    """Windows cut and scored, until a signal ends it."""
    home = settings.folders
    with _telling("monitor", home.spool) as registry:
        from observability.monitors.judging import judge  # 6 s: only this process waits for it

        engine = open_engine(settings.database, settings.migrate == "start")
        store = Store(engine)
        clock = clock_for(settings, store)
        watch = Watch(
            store=store,
            logs=storecalls.counted(open_log_store(home.log_store, ShippingSettings()), registry),
            blobs=BlobStore(home.blobs),
            clock=clock,
            score=judge,
        )
        registry.register(standing.watching(Measures(engine), clock))
        tick = Ticks(registry).measured("monitor", lambda: reconcile_windows(watch))
        with Committed(registry, committed.OF_MONITOR).counting(engine):
            ticker = Ticker(tick, settings.monitor_every)
            with threadpool_limits(1):  # samples are small: more threads take five times the processor for them
                ticker.start()
                _until_signalled().wait()
                ticker.stop()


def run_shipper(settings: Settings) -> None:
    """Spooled events moved to the log store, until a signal ends it."""
    home, shipping = settings.folders, ShippingSettings()
    with _telling("shipper", home.spool) as registry:
        shipper = Shipper(
            SpoolReader(home.spool),
            storecalls.counted(open_log_store(home.log_store, shipping), registry),
            DeadLetters(home.dead_letters, shipping.dead_letter_quota_bytes),
            batch_lines=shipping.batch_lines,
            poison=PoisonWindow(share=shipping.poison_share),
        )
        metrics = Shipping(registry, home.spool, shipper.counts, shipping.elasticsearch_ca_cert)
        stop = _until_signalled()
        try:
            shipper.run(stop)
            _ship_the_rest(shipper)
        except TooMuchPoison:
            metrics.stands_still()
            LOG.exception("shipping stands still")
            stop.wait(STANDSTILL_SECONDS)
            raise


def _ship_the_rest(shipper: Shipper) -> None:
    """What was spooled while the other processes ended; what the store does not take now waits for the next start."""
    with suppress(LogStoreUnavailable, DeadLettersFull, OSError):
        for _ in range(LAST_ROUNDS):
            if not shipper.ship_once().lines:
                return


def run_serving(settings: Settings) -> NoReturn:
    """Become the BentoML service, with the token of this data folder; the key is read where it stands."""
    home = settings.folders
    credentials = ensure_credentials(home.credentials)
    refuse_unsafe(settings, credentials)
    environment = {
        "SERVING_HOME": str(home.root),
        "SERVING_CONTROL_URL": settings.url,
        "SERVING_TOKEN": credentials.service.get_secret_value(),
        "SERVING_HOST": settings.host,
        "SERVING_PORT": str(settings.serving_port),
        "SERVING_BEHIND_TLS": str(settings.behind_tls).lower(),
    }
    command = [sys.executable, "-m", "serving"]
    inherited = handed_on(os.environ, SERVING, settings.pass_environment)
    os.execve(sys.executable, command, {**environment, **inherited})  # noqa: S606 - our own interpreter


def admin_pages() -> list[Callable[[FastAPI], None]]:
    """The admin pages, where they are installed."""
    if find_spec("controlplane.ui.pages") is None:
        return []
    mount: Callable[[FastAPI], None] = import_module("controlplane.ui.pages").mount
    return [mount]


def _ticking(*tickers: Ticker) -> Lifespan:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # collections need not walk what stays: a full one would stall every request
        for ticker in tickers:
            ticker.start()
        try:
            yield
        finally:
            for ticker in tickers:
                ticker.stop()
            gc.unfreeze()  # so that libraries find at the end what was theirs

    return lifespan


def _until_signalled() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


@contextmanager
def _telling(service: str, spool: Path) -> Iterator[CollectorRegistry]:
    """What each process begins with: files that only their owner reads, a log without a secret, and its metrics.

    Raises Unsafe where others could read the metrics.
    """
    os.umask(0o077)
    settings = MetricsSettings()
    try:
        refuse_open(settings)
    except MetricsUnsafe as error:
        raise Unsafe(str(error)) from error
    name = f"{service}_port"
    with set_up_logging(service, spool) as logs:
        registry = new_registry(logs)
        with told(registry, settings, getattr(settings, name), f"OBSERVABILITY_METRICS_{name.upper()}"):
            yield registry
