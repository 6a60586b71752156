"""The image's recipe: it cannot be built here, so what it takes and who runs in it is read."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def said(instruction: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(instruction + " ")]


def test_every_package_and_the_locks_hashes_are_in_it():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = [each.split()[0] for each in said("COPY") if not each.startswith("--from")]
    assert {package.rstrip("*") for package in packages} <= set(copied)
    assert any("--require-hashes" in line and "requirements.lock" in line for line in said("RUN"))


def test_what_is_copied_exists_and_reaches_the_builder():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for copy in said("COPY"):
        if copy.startswith("--from"):
            continue
        for source in copy.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == each or fnmatch.fnmatch(source, f"{each}/*") for each in let_in), source
    assert ignored[1] == "*", "nothing reaches the image that is not named"


def test_no_link_in_it_leads_out_of_it():
    """docs/runbook.md is a page of the control plane by a link; a link to what was not copied is an empty page."""
    copied = [ROOT / source for copy in said("COPY") if not copy.startswith("--from") for source in copy.split()[:-1]]
    links = [path for folder in copied if folder.is_dir() for path in folder.rglob("*") if path.is_symlink()]
    assert ROOT / "controlplane/ui/runbook.md" in links
    for link in links:
        assert any(link.resolve().is_relative_to(each) for each in copied), link


def test_nobody_in_it_is_root_and_nothing_secret_is_said():
    assert said("USER")[-1] == "10001:10001"
    assert not re.search(r"(?i)(password|token|secret|api_key)\s*=", "\n".join(LINES))
    assert not any(line.startswith("ADD ") for line in LINES)


def test_its_python_is_one_that_the_project_runs_on():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    versions = {tuple(map(int, re.search(r"python:(\d+)\.(\d+)", image).groups())) for image in said("FROM")}
    assert wanted == ">=3.11,<3.14" and all((3, 11) <= version < (3, 14) for version in versions)
    assert len(versions) == 1 and said("HEALTHCHECK")
