"""A training run that ends at once with the version that lies ready: `python -S -E training.py FOLDER --home HOME`."""

# pathlib would take longer to import than all the rest
# ruff: noqa: PTH104, PTH118, PTH119, PTH123
import json
import os
import sys


def main(folder, home):
    with open(os.path.join(home, "made.json"), encoding="utf-8") as file:
        made = json.load(file)
    report = {"key": os.path.basename(folder), "finished_at": "2021-01-01T00:00:00Z", "seconds": 0.1, "made": made}
    partial = os.path.join(folder, "report.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(report, file)
    os.rename(partial, os.path.join(folder, "report.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3]))
