"""A real PostgreSQL for the tests: one server for the session, a database of its own for each test that asks.

It listens on a socket in a private folder only, keeps `fsync` on, and ends with the process that started it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from controlplane.store import open_engine
from tests.servers.absence import absent

ACCOUNT: Final = "postgres"
START_SECONDS: Final = 60.0
OPTIONS: Final = (
    "listen_addresses=", "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal",
    "deadlock_timeout=100ms", "autovacuum=off",
)  # fmt: skip


class Missing(RuntimeError):
    """There is no PostgreSQL on this machine."""


class Postgres:
    """A server in a folder of its own, with a template that holds the present schema."""

    def __init__(self) -> None:
        self._programs = _programs()
        self.folder = Path(tempfile.mkdtemp(prefix="dg-pg-"))
        self._databases = 0
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.process = self._start(data)
        self._template: str | None = None

    def url(self, database: str) -> str:
        """Where the database is, for SQLAlchemy."""
        return f"postgresql+psycopg://{ACCOUNT}@/{database}?host={self.folder}"

    def empty(self) -> str:
        """The URL of a new database without any table."""
        return self._create("template1")

    def fresh(self) -> str:
        """The URL of a new database with the present schema and no rows."""
        if self._template is None:
            template = self.empty()
            open_engine(template).dispose()
            self._template = _name(template)
        return self._create(self._template)

    def drop(self, url: str) -> None:
        """Away with the database, whoever is connected to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)')

    def stop(self) -> None:
        """End the server and forget all that it held."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)  # at once: nothing here has to be kept
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _create(self, template: str) -> str:
        self._databases += 1
        name = f"t{self._databases}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user=ACCOUNT, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _command(self, program: str, *arguments: str) -> list[str]:
        drop = ["--reuid", ACCOUNT, "--regid", ACCOUNT, "--init-groups"] if os.geteuid() == 0 else []
        return ["setpriv", "--pdeathsig", "INT", *drop, str(self._programs / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, *arguments), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _start(self, data: Path) -> subprocess.Popen[bytes]:
        settings = [part for option in OPTIONS for part in ("-c", option)]
        command = self._command("postgres", "-D", str(data), "-k", str(self.folder), *settings)
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(host=str(self.folder), user=ACCOUNT, dbname="postgres").close()
            except psycopg.OperationalError:
                assert process.poll() is None and time.monotonic() < give_up_at, "PostgreSQL did not start"
                time.sleep(0.05)
            else:
                return process


def _programs() -> Path:
    """Where PostgreSQL's programs are: the newest of Debian's folders, or on PATH. Raises Missing."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None or shutil.which("setpriv") is None:
        raise Missing("no PostgreSQL here: `make servers` installs it")
    return Path(found).resolve().parent


def _name(url: str) -> str:
    return url.rpartition("/")[2] if "?" not in url else url.partition("@/")[2].partition("?")[0]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The server; where there is none the test is skipped, but in CI it fails."""
    try:
        server = Postgres()
    except Missing as missing:
        absent(str(missing))
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[Callable[[], str]]:
    """Gives a new database with the present schema each time it is called; all of them go with the test."""
    urls: list[str] = []

    def fresh() -> str:
        urls.append(postgres_server.fresh())
        return urls[-1]

    yield fresh
    for url in urls:
        postgres_server.drop(url)


@pytest.fixture
def postgres(postgres_url: Callable[[], str]) -> str:
    """The URL of a new database with the present schema."""
    return postgres_url()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database: a test that asks for it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/control.db"
    url: str = request.getfixturevalue("postgres")
    return url
