"""Has reports of windows written: one at a time, each by a process of its own that ends with it.

Evidently takes 6 s and some 300 MB to import, and what it makes of a window keeps a processor busy for seconds. The
process gets what it needs and no more: the state of record, the log store and the blobs.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pydantic import BaseModel, SecretStr, field_serializer

from bundle.home import Home
from controlplane.environment import handed_on
from controlplane.errors import BrokenEvidence, Busy, NotFound, NotReportable, ReportFailed, ReportsBusy
from controlplane.places import Places

LOG: Final = logging.getLogger(__name__)
#: of the environment: how the log store and the database are reached
NEEDED: Final = ("OBSERVABILITY_", "PG")
#: the process says in this way that it refused, and why
REFUSED: Final = 3
#: what it may say
REFUSALS: Final = {each.code: each for each in (NotFound, NotReportable, BrokenEvidence, Busy)}
LIMIT: Final = timedelta(seconds=120)
#: after so long another report may have its turn
RETRY_SECONDS: Final = 10
_TAIL: Final = 4_000


class Wanted(BaseModel, frozen=True):
    """What the process is asked, on its standard input: others could read what stands in its command line."""

    database: SecretStr
    home: Home
    model: str
    window: str

    @field_serializer("database", when_used="json")
    def _opened(self, database: SecretStr) -> str:
        return database.get_secret_value()


class Refusal(BaseModel, frozen=True):
    """Why there is no report."""

    code: str
    message: str


class ReportProcess:
    """Writes reports of this installation's windows."""

    def __init__(
        self,
        database: str,
        home: Home,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        limit: timedelta = LIMIT,
    ) -> None:
        self._database, self._home, self._limit = SecretStr(database), home, limit
        self._command = tuple(command or (sys.executable, "-m", "controlplane.reportprocess"))
        inherited = handed_on(os.environ, NEEDED) if environment is None else dict(environment)
        self._environment = inherited | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._places = Places(1, ReportsBusy, RETRY_SECONDS)

    def __call__(self, model_id: str, window_id: str) -> bytes:
        """The report of a window as one HTML file.

        Raises ReportsBusy, what the process refuses with, or ReportFailed where it ends without a word or in no time.
        """
        with self._places.one():
            return self._written(Wanted(database=self._database, home=self._home, model=model_id, window=window_id))

    def _written(self, asked: Wanted) -> bytes:
        try:
            ended = subprocess.run(
                self._command,
                input=asked.model_dump_json().encode(),
                env=self._environment,
                capture_output=True,
                timeout=self._limit.total_seconds(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            seconds = f"{self._limit.total_seconds():.0f} s"
            raise ReportFailed(f"the report was not written within {seconds}: the machine is too busy") from error
        if ended.returncode == 0:
            return ended.stdout
        if ended.returncode == REFUSED:
            refusal = Refusal.model_validate_json(ended.stdout)
            raise REFUSALS[refusal.code](refusal.message, model=asked.model, window=asked.window)
        said = ended.stderr[-_TAIL:].decode(errors="replace")  # it may begin, or have been killed, amid a character
        LOG.error("the report of %s ended with %d: %s", asked.window, ended.returncode, said)
        raise ReportFailed
