"""Applying a spec: checked as a whole before anything is stored; applying the same twice changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from controlplane.access.acts import Act
from controlplane.errors import SpecRefused
from controlplane.rules.schedule import BadCron, check
from controlplane.store import Store, spec_of
from controlplane.tables import Model
from pipeline.contract.rulespec import ScheduleRule
from pipeline.contract.spec import ModelSpec


def apply_spec(
    store: Store,
    model_id: str,
    spec: Mapping[str, Any],
    recipe: Mapping[str, str],
    now: datetime,
    act: Act | None = None,
) -> tuple[Model, bool]:
    """The model as it is declared now, and whether that is a change. Raises SpecRefused."""
    checked = checked_spec(spec, recipe, now)
    if checked.model != model_id:
        raise SpecRefused(f"the spec is of {checked.model}, not of {model_id}", field="model")
    _refuse_other_maker(store, checked)
    changed = store.apply_model(checked, recipe, now, act)
    return store.model(model_id), changed


def checked_spec(spec: Mapping[str, Any], recipe: Mapping[str, str], now: datetime) -> ModelSpec:
    """The spec, if it can be used with this recipe. Raises SpecRefused with every problem found."""
    refuse_unkeepable(spec, "spec")
    refuse_unkeepable(recipe, "recipe")
    try:
        checked = ModelSpec.model_validate(spec)
    except ValidationError as error:
        problems = [
            {"field": ".".join(str(part) for part in problem["loc"]), "message": problem["msg"]}
            for problem in error.errors(include_url=False, include_input=False)
        ]
        first = problems[0]
        raise SpecRefused(f"{first['field']}: {first['message']}", problems=problems) from error
    _check_files(checked, recipe)
    for rule in checked.rules:
        if isinstance(rule, ScheduleRule):
            try:
                check(rule, now)
            except BadCron as error:
                raise SpecRefused(str(error), field=f"rules.{rule.name}") from error
    return checked


def _refuse_other_maker(store: Store, spec: ModelSpec) -> None:
    """Who makes a model stays: a version of elsewhere cannot be scored beside one of here, nor be served here."""
    if not store.versions(spec.model, 1):
        return
    if spec_of(store.model(spec.model)).watched != spec.watched:
        raise SpecRefused(
            "entry: a model that has versions stays trained here, or only watched: declare it under another name",
            field="entry",
        )


def refuse_unkeepable(said: object, place: str) -> None:
    """Raises SpecRefused, naming the place, for what no database keeps or no JSON says: NUL, half a pair of UTF-16, a
    number that is none. It would be refused, or be another, wherever it is read again.
    """
    for field, why in _unkeepable(said, place):
        raise SpecRefused(f"{field}: {why}", field=field)


def _unkeepable(said: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(said, str) and ("\0" in said or not _is_unicode(said)):
        yield place, "it holds a character that cannot be kept"
    elif isinstance(said, float) and not math.isfinite(said):
        yield place, "it is no finite number"
    elif isinstance(said, Mapping):
        for key, value in said.items():
            yield from _unkeepable(str(key), f"{place}: the name {str(key)!a}")
            yield from _unkeepable(value, f"{place}.{key}")
    elif isinstance(said, list | tuple):
        for number, value in enumerate(said):
            yield from _unkeepable(value, f"{place}.{number}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_files(spec: ModelSpec, recipe: Mapping[str, str]) -> None:
    for name in recipe:
        if PurePosixPath(name).name != name or "\\" in name or not name.endswith(".py"):
            raise SpecRefused(f"recipe: {name!r} is not the name of a Python file", field="recipe")
    if spec.entry is None:
        if recipe:
            raise SpecRefused("recipe: a model without entry is only watched, and has none", field="recipe")
        return
    named = {entry.partition(":")[0] for entry in (spec.entry.features, spec.entry.pipeline)}
    if missing := sorted(named - set(recipe)):
        raise SpecRefused(f"entry: there is no {missing[0]} in the recipe", field="entry")
