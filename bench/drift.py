"""Whether monitors alarm when they should and only then: each part beside what others do, in one process.

`make bench NAME=drift` runs every part in its short form, `FULL=1` as the claims are meant; `python -m bench.drift
s1 s3` runs some. Real data come from DATA_DIR; where they are absent a claim is not measured, and says why.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from typing import Final

from threadpoolctl import threadpool_limits

from bench.form import Claim, show

#: each is bench.drift_stage.<name> with run(full: bool) -> tuple[figures, claims]
PARTS: Final = ("s1", "s2", "s3", "s5", "s6", "s7", "s8", "triage")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--full", action="store_true")
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    claims: list[Claim] = []
    for name in asked.parts or PARTS:
        began = time.monotonic()
        sys.stderr.write(f"{name} ...\n")
        with threadpool_limits(1):  # as in the monitor's process
            found, said = importlib.import_module(f"bench.drift_stage.{name}").run(asked.full)
        sys.stderr.write(f"{name} took {time.monotonic() - began:.0f} s\n")
        figures |= found
        claims += said
    return show("drift", figures, claims)


if __name__ == "__main__":
    sys.exit(main())
