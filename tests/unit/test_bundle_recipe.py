"""A recipe's code: loaded from source, its errors point at the user's file and line."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from bundle.recipe import Recipe, RecipeError, load_function, load_module
from bundle.signature import Feature, RawField, Signature

SIGNATURE = Signature(
    model="default/small", task="binary", label="y",
    raw=(RawField(name="amount", type="number"), RawField(name="kind", type="string")),
    features=(Feature(name="amount", type="numeric"), Feature(name="kind", type="categorical")),
)  # fmt: skip
RAW = {"amount": np.array([1.0, np.nan]), "kind": np.array(["a", None], dtype=object)}


def test_features_come_out_as_the_model_sees_them():
    recipe = Recipe("def f(raw):\n    return dict(raw)\n", "f", SIGNATURE)

    columns = recipe.features(RAW)

    assert columns["amount"].dtype == np.float32
    assert columns["kind"].tolist() == ["a", ""]


def test_an_error_names_file_line_and_exception():
    recipe = Recipe("import numpy\n\n\ndef f(raw):\n    return {'amount': raw['amout']}\n", "f", SIGNATURE)

    with pytest.raises(RecipeError, match=r"features.py:5: KeyError: 'amout'") as caught:
        recipe.features(RAW)

    assert (caught.value.file, caught.value.line) == ("features.py", 5)


def test_an_error_in_a_called_function_names_the_innermost_line_of_the_file():
    source = "def inner(x):\n    return x / 0\n\ndef f(raw):\n    return {'amount': inner(1)}\n"

    with pytest.raises(RecipeError, match=r"features.py:2: ZeroDivisionError"):
        Recipe(source, "f", SIGNATURE).features(RAW)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(raw:\n", "features.py:1: SyntaxError"),
        ("x = 1\nimport not_there\n", "features.py:2: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "features.py:1: SystemExit"),
        ("x = 1\n", "no function 'f'"),
    ],
)
def test_source_that_does_not_run_is_refused(source, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(source, "f", SIGNATURE)


def test_a_function_that_ends_the_process_is_an_error_of_the_recipe():
    recipe = Recipe("import sys\n\n\ndef f(raw):\n    sys.exit('done')\n", "f", SIGNATURE)

    with pytest.raises(RecipeError, match=r"features.py:5: SystemExit: done"):
        recipe.features(RAW)


@pytest.mark.parametrize("source", ["import words\n\ndef f(raw):\n    return raw\n", "def f(raw):\n    import words\n"])
def test_an_import_of_another_file_of_the_recipe_says_that_it_does_not_work(source):
    with pytest.raises(RecipeError, match=r"No module named 'words': the files of a recipe cannot import each other"):
        Recipe(source, "f", SIGNATURE, siblings=["features.py", "words.py"]).features(RAW)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{'amount': raw['amount']}", "no column 'kind'"),
        ("{'amount': raw['kind'], 'kind': raw['kind']}", "do not fit the signature"),
        ("{'amount': raw['amount'][:1], 'kind': raw['kind']}", "expected 2 values"),
        ("{'amount': raw['amount'], 'kind': raw['kind'].reshape(-1, 1)}", "expected 2 values"),
        ("None", "do not fit the signature"),
    ],
)
def test_a_wrong_answer_is_refused(answer, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(f"def f(raw):\n    return {answer}\n", "f", SIGNATURE).features(RAW)


def test_two_versions_of_a_recipe_live_side_by_side():
    one = load_function("def f():\n    return 1\n", "features.py", "f")
    two = load_function("def f():\n    return 2\n", "features.py", "f")

    assert (one(), two()) == (1, 2)


def test_a_source_runs_once_and_one_that_failed_leaves_nothing():
    assert load_module("x = object()\n", "features.py").x is load_module("x = object()\n", "features.py").x
    before = set(sys.modules)
    with pytest.raises(RecipeError):
        load_module("1 / 0\n", "features.py")
    assert set(sys.modules) == before


def test_an_error_travels_between_processes():
    error = RecipeError("features.py", 3, "KeyError: 'x'")

    assert str(pickle.loads(pickle.dumps(error))) == "features.py:3: KeyError: 'x'"  # noqa: S301
