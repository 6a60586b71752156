"""The manifest of the embedded log store, read by threads that share it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from observability.embedded.manifest import LogManifest, ManifestFile


def interrupted(file: ManifestFile, line: int, other: Callable[[], None]) -> None:
    """Read the manifest, and before the line of this number let another thread come between."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code is not ManifestFile.read.__code__:
            return None
        lines += event == "line"
        if lines == line:
            other()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        file.read()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("line", range(1, 12))
def test_a_thread_that_read_an_older_manifest_leaves_it_to_none_that_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int
) -> None:
    parse, main = LogManifest.model_validate_json, threading.current_thread()
    has_read, may_go_on = threading.Event(), threading.Event()

    def slow(data: bytes) -> LogManifest:
        manifest = parse(data)
        if threading.current_thread() is not main:
            has_read.set()
            assert may_go_on.wait(10)
        return manifest

    monkeypatch.setattr(LogManifest, "model_validate_json", slow)
    file = ManifestFile(tmp_path / "manifest.json")
    file.replace(LogManifest(generation=1))
    slower = threading.Thread(target=file.read)
    slower.start()
    assert has_read.wait(10)
    file.replace(LogManifest(generation=2))

    def finish() -> None:
        may_go_on.set()
        slower.join(10)

    interrupted(file, line, finish)
    finish()
    assert file.read().generation == 2
