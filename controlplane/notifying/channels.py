"""A channel takes notifications to people. Two are real; tests bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from controlplane.tables import Alert, Notification


class Channel(Protocol):
    """Where notifications go."""

    @property
    def name(self) -> str: ...

    def groups(self, claimed: Sequence[Notification]) -> Sequence[Sequence[Notification]]:
        """What is sent together: it is taken, or tried again, together."""
        ...

    def send(self, group: Sequence[Notification]) -> None:
        """Hand the group over. Raises NotDelivered or EgressRefused; sending it again does no harm."""
        ...

    def keep_up(self) -> None:
        """Whatever the channel has to hear again and again. Raises NotDelivered."""
        ...


@dataclass(frozen=True)
class Links:
    """Where people find more."""

    #: where this control plane is reached by people
    public: str
    #: the page with a heading for every alert
    runbook: str

    def runbook_of(self, name: str) -> str:
        return f"{self.runbook}#{name.lower()}"

    def page_of(self, model: str | None) -> str:
        return self.public if model is None else f"{self.public}/models/{quote(model)}"


def latest(alerts: Sequence[Alert], claimed: Sequence[Notification]) -> Sequence[Alert]:
    """The alerts that the notifications speak of, in their order, as they are now."""
    known = {alert.id: alert for alert in alerts}
    return [known[row.alert_id] for row in claimed if row.alert_id in known]
