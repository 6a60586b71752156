"""A model's declaration with a part of it changed, as somebody asks what would have been."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controlplane.applying import refuse_unkeepable
from controlplane.errors import SpecRefused
from pipeline.contract.spec import ModelSpec

Json = dict[str, Any]
#: of how a window is judged, what a stored verdict can be judged again by
AGAIN_BY: Final = ("margin",)


class Changes(BaseModel):
    """A part of a spec. What is not said stays as it is; without any change it is the past over again."""

    model_config = ConfigDict(extra="forbid")

    #: rules by their names: a field that is said is changed, a name that is new is a new rule
    rules: list[dict[str, Any]] = Field(default_factory=list)
    #: by monitor: {"drift": {"margin": ...}}
    monitors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    #: per_month, highest_level
    false_alarms: dict[str, Any] = Field(default_factory=dict)
    budget: dict[str, Any] = Field(default_factory=dict)


def changed_spec(spec: ModelSpec, declared: Mapping[str, Any]) -> ModelSpec:
    """The spec with these changes. Raises SpecRefused, naming the field, for what could not be declared or not be told
    from what is stored.
    """
    refuse_unkeepable(declared, "changes")
    try:
        changes = Changes.model_validate(declared)
        whole = spec.model_dump(mode="json", by_alias=True)
        whole["rules"] = _with_rules(whole["rules"], changes.rules)
        whole["monitors"] = _with_monitors(whole["monitors"], changes.monitors)
        whole["false_alarms"] |= changes.false_alarms
        whole["budget"] |= changes.budget
        return ModelSpec.model_validate(whole)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SpecRefused(f"{field or 'changes'}: {first['msg'].removeprefix('Value error, ')}", field=field) from error


def _with_rules(known: list[Json], asked: list[Json]) -> list[Json]:
    """In the order of their declaration, which decides between rules of one priority; new ones behind."""
    rules = {rule["name"]: rule for rule in known}
    for rule in asked:
        name = rule.get("name")
        if not isinstance(name, str):
            raise SpecRefused("rules: say the name of each rule that is changed or new", field="rules.name")
        before = rules.get(name, {})
        same = rule.get("kind", before.get("kind")) == before.get("kind")
        rules[name] = {**before, **rule} if same else rule
    return list(rules.values())


def _with_monitors(known: list[Json], asked: dict[str, Json]) -> list[Json]:
    names = {monitor["name"] for monitor in known}
    for name, said in asked.items():
        if name not in names:
            raise SpecRefused(f"monitors: there is no monitor {name!r}", field="monitors")
        drift = said.get("drift")
        if set(said) != {"drift"} or not isinstance(drift, dict) or not set(drift) <= set(AGAIN_BY):
            only = ", ".join(f"drift.{each}" for each in AGAIN_BY)
            why = f"monitors.{name}: from what is stored only {only} of a monitor can be replayed"
            raise SpecRefused(why, field=f"monitors.{name}")
    return [
        monitor | {"drift": monitor["drift"] | asked.get(monitor["name"], {}).get("drift", {})} for monitor in known
    ]
