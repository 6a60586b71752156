"""What has happened to a model, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path

from controlplane.api.paging import Since, ThePage, Until
from controlplane.api.parts import Exactly, KnownModel, Number, TheParts
from controlplane.lifecycle import RolloutState, RunState, VersionState
from controlplane.listings import (
    DecisionsPage,
    FiringsPage,
    RolloutsPage,
    RunsPage,
    VersionsPage,
    WindowsPage,
)
from controlplane.status import version_view
from controlplane.store import Store
from controlplane.store.reading import Row
from controlplane.views import DecisionView, FiringView, RolloutView, RunView, VersionView, WindowView

router = APIRouter(prefix="/api/v1/models/{ns}/{slug}")
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
WindowId = Annotated[str, Path(pattern=r"^[^\x00]{1,200}$")]


@router.get("/versions", tags=["versions"])
def versions(
    model_id: KnownModel,
    page: ThePage,
    state: VersionState | None = None,
    since: Since = None,
    until: Until = None,
) -> VersionsPage:
    """A model's versions with the gate's verdicts; `since` and `until` look at when they were made."""
    rows, behind = page.rows("versions", model=model_id, state=state, since=since, until=until)
    return VersionsPage(versions=version_views(page.parts.store, rows), next=behind)


@router.get("/versions/{number}", tags=["versions"])
def version(parts: TheParts, model_id: KnownModel, number: VersionNumber) -> VersionView:
    """One version."""
    return version_views(parts.store, [parts.store.one("versions", model_id, number=number)])[0]


@router.get("/windows", tags=["history"])
def windows(
    model_id: KnownModel,
    page: ThePage,
    monitor: Exactly = None,
    segment: Exactly = None,
    version: Number = None,
    since: Since = None,
    until: Until = None,
) -> WindowsPage:
    """A model's windows with the monitor's verdicts; `since` and `until` look at where they end.

    Those of its segments too, unless `segment` names one, or is empty for whole windows only.
    """
    rows, behind = page.rows(
        "windows", model=model_id, monitor=monitor, segment=segment, version=version, since=since, until=until
    )
    return WindowsPage(windows=[WindowView(**row) for row in rows], next=behind)


@router.get("/windows/{window_id}", tags=["history"])
def window(parts: TheParts, model_id: KnownModel, window_id: WindowId) -> WindowView:
    """One window."""
    return WindowView(**parts.store.one("windows", model_id, id=window_id))


@router.get("/decisions", tags=["history"])
def decisions(
    model_id: KnownModel,
    page: ThePage,
    rule: Exactly = None,
    outcome: Exactly = None,
    reason: Exactly = None,
    version: Number = None,
    since: Since = None,
    until: Until = None,
) -> DecisionsPage:
    """What the rules decided and why; `since` and `until` look at when."""
    rows, behind = page.rows(
        "decisions", model=model_id, rule=rule, outcome=outcome, reason=reason, version=version,
        since=since, until=until,
    )  # fmt: skip
    return DecisionsPage(decisions=[DecisionView(**row) for row in rows], next=behind)


@router.get("/firings", tags=["history"])
def firings(
    model_id: KnownModel,
    page: ThePage,
    rule: Exactly = None,
    trigger: Exactly = None,
    reason: Exactly = None,
    since: Since = None,
    until: Until = None,
) -> FiringsPage:
    """Which rules fired, for which cause; `since` and `until` look at when."""
    rows, behind = page.rows(
        "firings", model=model_id, rule=rule, trigger=trigger, reason=reason, since=since, until=until
    )
    return FiringsPage(firings=[FiringView(**row) for row in rows], next=behind)


@router.get("/runs", tags=["runs"])
def runs(
    model_id: KnownModel, page: ThePage, state: RunState | None = None, since: Since = None, until: Until = None
) -> RunsPage:
    """A model's training runs; `since` and `until` look at when they were asked for."""
    rows, behind = page.rows("runs", model=model_id, state=state, since=since, until=until)
    return RunsPage(runs=[RunView(**row) for row in rows], next=behind)


@router.get("/runs/{key}", tags=["runs"])
def run(parts: TheParts, model_id: KnownModel, key: Key) -> RunView:
    """One run, with how far it is."""
    return RunView(**parts.store.one("runs", model_id, key=key))


@router.get("/rollouts", tags=["versions"])
def rollouts(
    model_id: KnownModel,
    page: ThePage,
    state: RolloutState | None = None,
    version: Number = None,
    since: Since = None,
    until: Until = None,
) -> RolloutsPage:
    """How versions came into production, or did not; `since` and `until` look at when that began."""
    rows, behind = page.rows("rollouts", model=model_id, state=state, version=version, since=since, until=until)
    return RolloutsPage(rollouts=[RolloutView(**row) for row in rows], next=behind)


def version_views(store: Store, rows: Sequence[Row]) -> list[VersionView]:
    """Versions with the gate's verdicts, which come in one query."""
    gates: dict[str, Any] = store.gates_of([row["run_key"] for row in rows])
    return [version_view(row, gates.get(row["run_key"])) for row in rows]
