"""What went wrong in a Spark worker is told by the exception's own line."""

from __future__ import annotations

from bundle.recipe import RecipeError
from pipeline.engines.spark import _recipe_error

TRACE = """Job aborted due to stage failure.
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/x/layers.py", line 50, in __call__
    latest[name] = pd.to_numeric(latest[name])
                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^
{}

\tat org.apache.spark.api.python.BasePythonRunner
JVM stacktrace:
org.apache.spark.SparkException
"""


def test_the_last_line_of_a_workers_exception_is_shown():
    error = _recipe_error(RuntimeError(TRACE.format("OverflowError: date value out of range")))

    assert str(error) == "a layer cannot be built: OverflowError: date value out of range"


def test_the_users_error_keeps_its_file_and_line():
    error = _recipe_error(RuntimeError(TRACE.format("bundle.recipe.RecipeError: features.py:2: KeyError: 'x'")))

    assert isinstance(error, RecipeError)
    assert (error.file, error.line, error.message) == ("features.py", 2, "KeyError: 'x'")


def test_an_error_without_a_worker_keeps_its_first_line():
    assert str(_recipe_error(ValueError("no space left\nat x"))) == "a layer cannot be built: ValueError: no space left"
