"""The docs say what the code does."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from starlette.testclient import TestClient

from bundle.columns import raw_columns
from bundle.recipe import Recipe, load_function
from bundle.scorer import Graph
from controlplane import cli, client
from controlplane.access.acts import Act
from controlplane.access.auth import Authenticator, is_open, required_scope
from controlplane.access.callers import ROLES, opened_by
from controlplane.access.tokens import mint
from controlplane.api import Parts, create_app
from controlplane.api.document import operations
from controlplane.notifying.assembly import open_channels
from controlplane.processes import admin_pages
from controlplane.settings import Settings
from controlplane.ui import runbook
from controlplane.ui.runbook import headings_of
from docs.generate import REFERENCE, pages
from docs.openapi import document
from pipeline.contract.specfile import SpecInvalid, read_recipe
from pipeline.engines.sklearn import SklearnEngine
from tests.admin_ui_story import Story
from tests.api_client import Wire, add, api_of, decision
from tests.controlplane_world import MODEL, START, World

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    *DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), *DOCS.glob("reference/*.md"), DOCS.parent / "README.md",
    DOCS.parent / "CHANGELOG.md",
]  # fmt: skip


@pytest.mark.parametrize("page", pages())
def test_the_reference_is_what_the_code_says(page):
    written = (REFERENCE / page).read_text(encoding="utf-8")

    assert written == pages()[page], "run make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))

    missing = [
        f"{link}#{anchor}"
        for link, anchor in links
        if not (target := page.parent / link if link else page).exists()
        or (anchor and anchor not in {each.id for each in headings_of(target.read_text(encoding="utf-8"))})
    ]

    assert missing == []


def test_the_readme_leads_to_every_page():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")

    missing = [page.name for page in PAGES[:-2] if f"(docs/{page.relative_to(DOCS)})" not in readme]

    assert [name for name in missing if not re.match(r"\d{4}-", name)] == []


def test_every_route_is_on_the_reference_page():
    page = pages()["api.md"]

    missing = [
        f"{method.upper()} {path}"
        for path, method, _ in operations(document())
        if f"### {method.upper()} {path}\n" not in page
    ]

    assert missing == []


def routes_of_the_architecture() -> Iterator[tuple[str, str, str]]:
    """Method, path and scope of each route that the page lists; names in braces are left out."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    form = r"^    (GET|PUT|POST|DELETE) +((?:M|/api|/hooks)\S*(?: \| \w+)*) *(?:\[(\w+)\]|(signed)|  |$)"
    for method, paths, scope, signed in re.findall(form, text, re.MULTILINE):
        first, *others = paths.replace("M", "/api/v1/models/{ns}/{slug}", 1).split(" | ")
        for path in (first, *(f"{first.rpartition('/')[0]}/{other}" for other in others)):
            yield method, re.sub(r"{\w+}", "{}", path), scope or signed or "service"


def test_the_architecture_lists_every_route_with_its_scope():
    listed = set(routes_of_the_architecture())

    routes = {
        (method.upper(), re.sub(r"{\w+}", "{}", path), scope_of(method.upper(), path))
        for path, method, _ in operations(document())
        if path not in ("/healthz", "/readyz")
    }
    assert listed == routes


def scope_of(method: str, path: str) -> str:
    return "signed" if is_open(path) else required_scope(method, re.sub(r"{\w+}", "x", path))


def test_the_architecture_says_what_each_role_may_do():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    said = {role: set(re.findall(r"\w+", rows[role])) for role in ROLES}
    assert "none" in said.pop("predict")

    assert said == {role: may for role, scope in ROLES.items() if (may := set(opened_by([scope])))}


def test_the_architecture_names_every_room_of_the_control_plane():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = {each.parent.name for each in (DOCS.parent / "controlplane").glob("*/__init__.py")}

    assert rooms - set(re.findall(r"`(\w+)/`", text)) == set()


def test_an_installed_package_has_the_runbook_beside_its_pages():
    assert runbook.FILE.parent == Path(runbook.__file__).parent
    assert runbook.FILE.read_text(encoding="utf-8") == (DOCS / "runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("runbook_url", ["", "https://wiki.example.com/driftgate"])
def test_an_alert_leads_to_the_runbook_that_the_settings_name(tmp_path, runbook_url):
    world, token = World(tmp_path), mint()
    Story(world.store).alert("default/tweets", "DriftDetected", "warning", "it drifted", "nothing was done")
    world.store.create_token(token, "reader", "viewer", "read", None)
    parts = Parts(world.store, world.blobs, world.clock, Authenticator(world.store), runbook_url=runbook_url)
    visitor = TestClient(create_app(parts, admin_pages()), headers={"Authorization": f"Bearer {token.secret}"})

    page = visitor.get("/alerts", headers={"Accept": "text/html"}).text

    assert f'href="{runbook_url or "/runbook"}#driftdetected">Runbook</a>' in page


@pytest.mark.parametrize("runbook_url", ["", "https://wiki.example.com/driftgate"])
def test_who_is_paged_gets_a_link_to_a_page_that_there_is(tmp_path, runbook_url):
    settings = Settings(
        alertmanager_url="http://127.0.0.1:9093", public_url="https://dg.example.com/", runbook_url=runbook_url
    )

    (channel,) = open_channels(settings, World(tmp_path).store)

    read = channel._links.runbook_of("DriftDetected")
    assert read == f"{runbook_url or 'https://dg.example.com/runbook'}#driftdetected"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_the_docs_name_is_there(page):
    named = re.findall(
        r"`((?:tests|bench|bundle|controlplane|deploy|observability|pipeline|recipes|serving)/[\w/.-]+)`",
        page.read_text("utf-8"),
    )

    assert [each for each in named if not (DOCS.parent / each).exists()] == []


def commands_in(page: Path) -> Iterator[list[str]]:
    """What a page tells its reader to type, in lines of code and in the middle of sentences."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in re.findall(r"^    (?:[A-Z_]+=\S+ )*(driftgate .*)$|`(driftgate [^`]+)`", text, re.MULTILINE):
        yield shlex.split("".join(line), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_is_one_that_there_is(page):
    for words in commands_in(page):
        command, said = typer.main.get_command(cli.app), " ".join(words)
        while hasattr(command, "commands"):
            assert words and words[0] in command.commands, f"driftgate {said}"
            command = command.commands[words.pop(0)]
        known = {option for each in command.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= known, f"driftgate {said}"


def guide_recipe(folder: Path) -> Path:
    """The recipe of the guide, written as a reader would."""
    guide = (DOCS / "bring-your-own-model.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(yaml|python)\n(.*?)```", guide, re.DOTALL)
    folder.mkdir(exist_ok=True)
    for name, (_, text) in zip(("model.yaml", "features.py", "training.py"), blocks, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_mistake_in_the_guide_is_told_as_the_guide_says(tmp_path):
    folder = guide_recipe(tmp_path / "churn")
    declared = (folder / "model.yaml").read_text(encoding="utf-8")
    (folder / "model.yaml").write_text(declared.replace("drifted_share: 0.5", "drifted_share: 1.5"), encoding="utf-8")
    (told,) = re.findall(r"^    (churn/model\.yaml:.*)$", (DOCS / "bring-your-own-model.md").read_text("utf-8"), re.M)

    with pytest.raises(SpecInvalid) as refused:
        read_recipe(folder)

    assert str(refused.value).replace(f"{tmp_path}/", "") == told


def test_the_recipe_in_the_guide_trains_a_model_that_is_exported_equal(tmp_path):
    spec, sources = read_recipe(guide_recipe(tmp_path))
    rng = np.random.default_rng(1)
    rows = [
        {"plan": rng.choice(["basic", "pro", None]), "spend": float(spend), "phone": None}
        for spend in rng.exponential(30, 500)
    ]
    features = Recipe(sources["features.py"], "features", spec.signature, "features.py")
    build = load_function(sources["training.py"], "training.py", "pipeline")
    columns = features.features(raw_columns(rows, spec.raw))
    labels = np.array([int(row["spend"] > 20) for row in rows])

    fitted = SklearnEngine().fit(build, spec.signature, columns, labels)
    graph = Graph(fitted.export(), spec.signature)

    assert np.abs(graph.score(columns) - fitted.score(columns)).max() < 1e-5


def test_the_examples_of_the_api_guide_run(tmp_path, monkeypatch, capsys):
    """One after the other, against an application with a model."""
    world = World(tmp_path)
    world.to_production()
    add(world, decision(1))
    wire = Wire(api_of(world))
    monkeypatch.setattr(client, "ControlClient", wire.client)
    guide = (DOCS / "api.md").read_text(encoding="utf-8")
    given: dict[str, object] = {"url": "http://testserver", "token": wire.token, "control": wire.client()}
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(block, given)  # noqa: S102 - our own guide
    said = capsys.readouterr().out.splitlines()
    assert (said[0], said[-2:]) == ("admin", ["True", "somebody changed it meanwhile"])
    assert said[1] == f"{decision(1).decided_at} drifted WAIT_STABLE number 1"
    (answer,) = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    assert wire.application.get("/api/v1/models/a/b").json() == json.loads(answer)


def test_the_proof_of_an_export_runs(tmp_path, monkeypatch, capsys):
    """Of one as it was written, and of one with a name changed."""
    world = World(tmp_path)
    for what in ("rules", "rollout"):
        world.store.put_hold(MODEL, what, "a sale", None, START, "alice", Act("alice", None, "api", "r-1", "a sale"))
    wire = api_of(world)
    kept = wire.get("/api/v1/audit/verification").json()
    export = wire.get("/api/v1/audit", headers={"Accept": "application/x-ndjson"}).text
    (proof,) = re.findall(r"```python\n(.*?)```", (DOCS / "audit.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)

    for text in (export, export.replace("alice", "bob")):
        (tmp_path / "audit.ndjson").write_text(text, encoding="utf-8")
        exec(proof, {"kept": kept})  # noqa: S102 - our own page

    whole, changed = capsys.readouterr().out.splitlines()
    assert whole == "None" and "something else than when it was written" in changed


@pytest.mark.parametrize("recipe", ["tweets", "flights"])
def test_the_shipped_recipes_are_valid(recipe):
    spec, sources = read_recipe(DOCS.parent / "recipes" / recipe)

    assert spec.model == f"default/{recipe}"
    assert {"features.py", "training.py"} <= set(sources)
