"""The processes, put together: the one place where adapters meet the parts that use them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from bundle.blobs import BlobStore
from controlplane.access.auth import Authenticator
from controlplane.access.credentials import ensure_credentials, installation_key, let_in
from controlplane.access.safety import refuse_unsafe
from controlplane.alertfacts import Patience
from controlplane.api import Parts, create_app
from controlplane.api.app import Lifespan
from controlplane.environment import SERVING, TRAINING, handed_on
from controlplane.loop.monitoring import Watch, reconcile_windows
from controlplane.loop.reconcile import Reconciler
from controlplane.loop.scheduler import Ticker
from controlplane.loop.spooled import SpooledLines
from controlplane.loop.trainer import SubprocessTrainer
from controlplane.notifying.assembly import open_channels
from controlplane.notifying.deliverer import Deliverer
from controlplane.replayclock import clock_for
from controlplane.settings import Settings
from controlplane.store import Store, open_engine
from observability.logstores import open_log_store
from observability.settings import Settings as ShippingSettings
from observability.spool.dead_letters import DeadLetters
from observability.spool.reader import SpoolReader
from observability.spool.shipper import PoisonWindow, Shipper


def run_control(settings: Settings) -> None:
    """REST API, admin pages and the tick, until a signal ends them."""
    _prepare()
    home = settings.folders
    credentials = ensure_credentials(home.credentials)
    refuse_unsafe(settings, credentials)
    store = Store(open_engine(settings.database, settings.migrate == "start"))
    let_in(store, credentials)
    channels = open_channels(settings, store)
    clock, blobs, lines = clock_for(settings, store), BlobStore(home.blobs), SpooledLines(home)
    reconciler = Reconciler(
        store=store,
        trainer=SubprocessTrainer(home, environment=handed_on(os.environ, TRAINING, settings.pass_environment)),
        blobs=blobs,
        clock=clock,
        lines=lines,
        lease=settings.lease,
        instance_silence=settings.instance_silence,
        patience=Patience() if settings.clock == "system" else Patience(monitor=None),
    )
    deliveries = [
        Ticker(Deliverer(store, channel, reconciler.owner, reconciler.at).once, settings.tick) for channel in channels
    ]
    runs, ticker = Ticker(reconciler.look_after_runs, settings.tick), Ticker(reconciler.decide, settings.tick)
    parts = Parts(
        store=store,
        blobs=blobs,
        clock=clock,
        authenticator=Authenticator(store),
        instance_silence=settings.instance_silence,
        serving_url=settings.serving_url,
        trouble=lambda: ticker.trouble() or runs.trouble(),
        trusted_proxies=settings.trusted_proxies,
        behind_tls=settings.behind_tls,
        runbook_url=settings.runbook_url,
        hook_key=installation_key(settings, credentials),
    )
    app = create_app(parts, admin_pages(), _ticking(runs, ticker, *deliveries))
    try:
        uvicorn.run(
            app, host=settings.host, port=settings.port, log_level="warning",
            proxy_headers=False, server_header=False, timeout_graceful_shutdown=10,
        )  # fmt: skip
    finally:
        lines.close()


def run_monitor(settings: Settings) -> None:
    """Windows cut and scored, until a signal ends it."""
    from observability.monitors.evidently_scores import score_window  # 6 s: only this process waits for it

    _prepare()
    home = settings.folders
    store = Store(open_engine(settings.database, settings.migrate == "start"))
    watch = Watch(
        store=store,
        logs=open_log_store(home.log_store, ShippingSettings()),
        blobs=BlobStore(home.blobs),
        clock=clock_for(settings, store),
        score=score_window,
    )
    ticker = Ticker(lambda: reconcile_windows(watch), settings.monitor_every)
    ticker.start()
    _until_signalled().wait()
    ticker.stop()


def run_shipper(settings: Settings) -> None:
    """Spooled events moved to the log store, until a signal ends it."""
    _prepare()
    home, shipping = settings.folders, ShippingSettings()
    shipper = Shipper(
        SpoolReader(home.spool),
        open_log_store(home.log_store, shipping),
        DeadLetters(home.dead_letters),
        batch_lines=shipping.batch_lines,
        poison=PoisonWindow(share=shipping.poison_share),
    )
    shipper.run(_until_signalled())


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
        for ticker in tickers:
            ticker.start()
        try:
            yield
        finally:
            for ticker in tickers:
                ticker.stop()

    return lifespan


def _until_signalled() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop


def _prepare() -> None:
    """What each process begins with: files that only their owner reads, and a log without a secret."""
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("apscheduler", "httpx", "httpcore"):  # the latter two name whole addresses
        logging.getLogger(chatty).setLevel(logging.WARNING)
