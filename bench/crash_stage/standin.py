"""A training run that says at once that it began, and ends soon: with a version, with a failure, or without a word.

Run as `python -S -E standin.py FOLDER --home HOME`; how it behaves follows from its key, so it would do the same again.
"""

# pathlib would take longer to import than all the rest
# ruff: noqa: PTH104, PTH118, PTH119, PTH123
import json
import os
import sys
import time


def main(folder, home):
    key = os.path.basename(folder)
    started = os.open(os.path.join(home, "starts"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(started, key.encode() + b"\n")
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        model = json.load(file)["spec"]["model"]
    draw = int(key[-4:], 16)
    if draw % 3 == 0:
        time.sleep(0.05 + draw % 400 / 1000)
    if draw % 20 == 1:
        return 1
    report = {"key": key, "finished_at": "2021-01-01T00:00:00Z", "seconds": 0.1}
    if model.endswith("0"):
        with open(os.path.join(home, "made.json"), encoding="utf-8") as file:
            report["made"] = json.load(file)
    else:
        report["failure"] = {"code": "too_few_rows", "message": "there are none"}
    partial = os.path.join(folder, "report.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(report, file)
    os.rename(partial, os.path.join(folder, "report.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3]))
