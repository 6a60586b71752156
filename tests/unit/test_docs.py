"""The docs say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import REFERENCE, pages
from pipeline.contract.specfile import read_recipe

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), DOCS.parent / "README.md"]


@pytest.mark.parametrize("page", pages())
def test_the_reference_is_what_the_code_says(page):
    written = (REFERENCE / page).read_text(encoding="utf-8")

    assert written == pages()[page], "run make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))

    missing = [link for link in links if not (page.parent / link).exists()]

    assert missing == []


def test_the_feature_function_in_the_guide_runs():
    guide = (DOCS / "bring-your-own-model.md").read_text(encoding="utf-8")
    source = re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1]
    module = {}
    exec(source, module)  # noqa: S102 - it is ours
    import numpy as np

    raw = {
        "plan": np.array(["basic", None], dtype=object),
        "spend": np.array([0.0, np.nan]),
        "phone": np.array(["1", None], dtype=object),
    }

    columns = module["features"](raw)

    assert columns["has_phone"].tolist() == [1.0, 0.0]
    assert columns["log_spend"][0] == 0.0


@pytest.mark.parametrize("recipe", ["tweets", "flights"])
def test_the_shipped_recipes_are_valid(recipe):
    spec, sources = read_recipe(DOCS.parent / "recipes" / recipe)

    assert spec.model == f"default/{recipe}"
    assert {"features.py", "training.py"} <= set(sources)
