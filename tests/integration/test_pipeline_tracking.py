"""MLflow is opened by several runs at once, as the first of a data folder may be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_OPEN = (
    "import sys, time; from pathlib import Path; from pipeline.tracking import Tracking\n"
    "import mlflow.tracking\n"
    "open(sys.argv[2], 'w').close()\n"
    "while len(list(Path(sys.argv[2]).parent.glob('ready-*'))) < 2: time.sleep(0.01)\n"
    "tracking = Tracking(Path(sys.argv[1]))\n"
    "print(*tracking.record('default/small', sys.argv[2], {'a': 1}, {'b': 0.5}, {'file.txt': b'x'}))\n"
)


def test_two_first_runs_at_once_are_both_kept_under_one_name(tmp_path):
    commands = [[sys.executable, "-c", _OPEN, str(tmp_path / "mlflow"), str(tmp_path / f"ready-{i}")] for i in (1, 2)]
    started = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        for c in commands
    ]

    said = [process.communicate(timeout=200) for process in started]

    assert [process.returncode for process in started] == [0, 0], said
    assert sorted(out.split()[1] for out, _ in said) == ["1", "2"]
