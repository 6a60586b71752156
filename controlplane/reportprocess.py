"""The process that writes one report: `python -m controlplane.reportprocess`, asked on its standard input.

It answers with the HTML on its standard output, or ends with REFUSED and says why there.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import IO, Final

from bundle.blobs import BlobStore
from controlplane.errors import ControlPlaneError
from controlplane.loop.reporting import window_to_report, write_report
from controlplane.loop.watch import Sources
from controlplane.reports import LIMIT, REFUSALS, REFUSED, Refusal, Wanted
from controlplane.store import Store, open_engine
from observability.logstores import open_log_store
from observability.ports import LogStoreUnavailable
from observability.settings import Settings

#: whoever asked may have died: then nobody ends this process after its time
PROCESSOR_SECONDS: Final = int(LIMIT.total_seconds())


def main() -> int:
    """Write the report that is asked for; the status to end with."""
    answer = _own_output()
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    os.nice(10)  # whoever decides and answers goes first
    asked = Wanted.model_validate_json(sys.stdin.buffer.read())
    try:
        said = _report(asked)
    except LogStoreUnavailable as error:
        return _refuse(answer, Refusal(code="busy", message=f"the log store does not answer: {error}"))
    except ControlPlaneError as error:
        if error.code not in REFUSALS:
            raise
        return _refuse(answer, Refusal(code=error.code, message=error.message))
    answer.write(said)
    answer.close()
    return 0


def _report(asked: Wanted) -> bytes:
    engine = open_engine(asked.database.get_secret_value(), migrating=False)
    try:
        sources = Sources(Store(engine), open_log_store(asked.home.log_store, Settings()), BlobStore(asked.home.blobs))
        return write_report(sources, window_to_report(sources.store, asked.model, asked.window))
    finally:
        engine.dispose()


def _own_output() -> IO[bytes]:
    """The standard output, for the answer alone: what a library prints goes to the errors."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answer


def _refuse(answer: IO[bytes], why: Refusal) -> int:
    answer.write(why.model_dump_json().encode())
    answer.close()
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
