"""Whether the serving instances are ready for a staged version: a pure function of what they reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.tables import Instance, Version


@dataclass(frozen=True)
class Loaded:
    """Every live instance has it, and there is at least one."""


@dataclass(frozen=True)
class FailedLoad:
    """An instance could not load it."""

    reason: str


@dataclass(frozen=True)
class Waiting:
    """Not every live instance has it, or none is alive."""


Readiness: TypeAlias = Loaded | FailedLoad | Waiting


def observe_fleet(version: Version, instances: Sequence[Instance]) -> Readiness:
    """How far the instances that reported lately are with a staged version."""
    name = {"model": version.model, "version": version.number}
    for instance in instances:
        for failed in instance.failed:
            if {key: failed.get(key) for key in name} == name:
                return FailedLoad(f"{instance.id} could not load it: {failed.get('reason', 'no reason given')}")
    wanted = name | {"manifest": version.manifest}
    if instances and all(wanted in instance.loaded for instance in instances):
        return Loaded()
    return Waiting()
