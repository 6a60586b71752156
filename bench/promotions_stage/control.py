"""The real process of a control plane, in which only what a training run does is played: `python -m ...control`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

from controlplane import processes
from controlplane.loop.trainer import SubprocessTrainer
from controlplane.settings import Settings

_TRAINING: Final = (sys.executable, "-S", "-E", str(Path(__file__).with_name("training.py")))


def main() -> None:
    with patch.object(processes, "SubprocessTrainer", partial(SubprocessTrainer, command=_TRAINING)):
        processes.run_control(Settings())


if __name__ == "__main__":
    main()
