"""What a person may do from the pages: the same verbs as the API, each with a reason that the audit chain keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from controlplane.access.acts import Act
from controlplane.api.parts import Parts
from controlplane.errors import NotFound, Refused
from controlplane.loop.triggers import ask
from controlplane.store.holds import OF_A_RULE, ROLLOUT, RULES
from observability.ids import new_id

Span = Literal["hold", "silence"]
#: how long, by what a form says; None is until somebody takes it back
SPANS: Final[Mapping[str, timedelta | None]] = {
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "12h": timedelta(hours=12),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "open": None,
}
SPAN_NAMES: Final[Mapping[str, str]] = {
    "1h": "one hour",
    "4h": "4 hours",
    "12h": "12 hours",
    "1d": "one day",
    "7d": "a week",
    "open": "until I end it",
}
GREATEST: Final = 2**31 - 1


@dataclass(frozen=True)
class Asked:
    """One thing that somebody asks for."""

    parts: Parts
    #: the model or the alert that it is done to
    subject: str
    #: which version, run or rule of it; empty where there is but one
    of: str
    act: Act
    #: control plane's clock, and the machine's
    now: datetime
    wall: datetime
    span: str = ""
    #: of the form: sent twice, it asks for the same
    request_id: str = ""

    @property
    def version(self) -> int:
        """The version that is meant. Raises NotFound."""
        if not (self.of.isascii() and self.of.isdecimal() and int(self.of) <= GREATEST):
            raise NotFound(f"{self.subject} has no version {self.of}")
        return int(self.of)

    def until(self, clock: datetime) -> datetime | None:
        """When it ends by itself. Raises Refused."""
        if self.span not in SPANS:
            raise Refused("choose for how long")
        span = SPANS[self.span]
        return clock + span if span is not None else None


@dataclass(frozen=True)
class Action:
    """Something to do: what the confirming page says, and the verb."""

    #: with {subject} and {of}
    title: str
    says: str
    button: str
    #: what is said when it is done
    done: str
    verb: Callable[[Asked], object]
    span: Span | None = None
    #: it takes something away
    grave: bool = False

    def titled(self, subject: str, of: str) -> str:
        return self._filled(self.title, subject, of)

    def explained(self, subject: str, of: str) -> str:
        return self._filled(self.says, subject, of)

    def _filled(self, text: str, subject: str, of: str) -> str:
        named = (
            "every rule" if of == RULES else f"rule {of.removeprefix(OF_A_RULE)}" if of.startswith(OF_A_RULE) else of
        )
        return text.replace("{of}", named).replace("{subject}", subject)


def _train(asked: Asked) -> None:
    request = asked.request_id or new_id()
    ask(asked.parts.store, asked.subject, request, asked.act.why, asked.now, asked.act)


def _cancel(asked: Asked) -> None:
    store, act = asked.parts.store, asked.act
    store.one("runs", asked.subject, key=asked.of)
    store.cancel_run(asked.of, act.actor, act.why, asked.now, act)


def _roll_back(asked: Asked) -> None:
    away_from = asked.version if asked.of else None
    asked.parts.store.roll_back(asked.subject, asked.act.why, asked.now, asked.act, away_from)


def _approve(asked: Asked) -> None:
    asked.parts.store.approve(asked.subject, asked.version, asked.act.why, asked.now, asked.act)


def _reject(asked: Asked) -> None:
    asked.parts.store.reject(asked.subject, asked.version, asked.act.why, asked.now, asked.act)


def _promote(asked: Asked) -> None:
    store, silence = asked.parts.store, asked.parts.instance_silence
    store.promote(asked.subject, asked.version, asked.act.why, asked.now, asked.act, silence)


def _hold(asked: Asked, what: str) -> None:
    store, act, until = asked.parts.store, asked.act, asked.until(asked.now)
    store.put_hold(asked.subject, what, act.why, until, asked.now, act.actor, act)


def _end_hold(asked: Asked, what: str) -> None:
    asked.parts.store.end_hold(asked.subject, what, asked.now, asked.act)


def _acknowledge(asked: Asked) -> None:
    asked.parts.store.acknowledge(asked.subject, asked.act.why, asked.now, asked.act.actor, asked.act)


def _silence(asked: Asked) -> None:
    until = asked.until(asked.wall)
    if until is None:
        raise Refused("choose for how long: a silence has an end")
    asked.parts.store.silence(asked.subject, until, asked.act.why, asked.now, asked.act.actor, asked.act)


def _unsilence(asked: Asked) -> None:
    asked.parts.store.unsilence(asked.subject, asked.act.why, asked.now, asked.act.actor, asked.act)


OF_MODELS: Final[Mapping[str, Action]] = {
    "train": Action(
        "Train {subject} now",
        "A run is asked for at once; cooldown, hours, pauses and budget do not keep it back. What it makes still has "
        "to pass the gate.",
        "Train now", "A training run was asked for.", _train,
    ),
    "cancel": Action(
        "Cancel the training run", "Run {of} of {subject} ends at the next tick and makes no version.",
        "Cancel the run", "The run ends at the next tick.", _cancel, grave=True,
    ),
    "rollback": Action(
        "Roll {subject} back",
        "The version that was in production before comes back at once, also while rollouts are frozen. A rollout that "
        "is under way ends.",
        "Roll back", "The version before is back in production.", _roll_back, grave=True,
    ),
    "approve": Action(
        "Approve version {of}", "Version {of} of {subject} passed its gate. Its rollout begins.",
        "Approve", "It was approved: its rollout begins.", _approve,
    ),
    "reject": Action(
        "Reject version {of}", "Version {of} of {subject} does not go into production, now or later.",
        "Reject", "It was rejected.", _reject, grave=True,
    ),
    "promote": Action(
        "Promote version {of} now",
        "Version {of} of {subject} goes into production at once, whatever steps of its rollout remain.",
        "Promote now", "It is in production.", _promote, grave=True,
    ),
    "pause": Action(
        "Pause {of} of {subject}", "It decides and says why, and fires nothing. A run that is active goes on.",
        "Pause", "Paused.", lambda asked: _hold(asked, asked.of), "hold",
    ),
    "resume": Action(
        "Resume {of} of {subject}", "It may fire again from the next tick on.",
        "Resume", "It may fire again.", lambda asked: _end_hold(asked, asked.of),
    ),
    "freeze": Action(
        "Freeze the rollouts of {subject}",
        "No version moves forward by itself. Guards still end a rollout that does harm, and you can still roll back.",
        "Freeze", "Frozen: no version moves forward by itself.", lambda asked: _hold(asked, ROLLOUT), "hold",
    ),
    "unfreeze": Action(
        "Unfreeze the rollouts of {subject}", "The rollout goes on from where it is, at the next tick.",
        "Unfreeze", "Rollouts go on.", lambda asked: _end_hold(asked, ROLLOUT),
    ),
}  # fmt: skip
OF_ALERTS: Final[Mapping[str, Action]] = {
    "acknowledge": Action(
        "Acknowledge", "You take care of it: nobody is paged any more, until it is over.",
        "Acknowledge", "Acknowledged: nobody is paged any more.", _acknowledge,
    ),
    "silence": Action(
        "Silence", "Nobody is paged until then. If it still holds then, they are again.",
        "Silence", "Silenced.", _silence, "silence",
    ),
    "unsilence": Action(
        "Take the acknowledgement or silence back", "It is firing as before, and people are paged.",
        "Fire again", "It is firing again.", _unsilence,
    ),
}  # fmt: skip


def done_words(name: str) -> str:
    """What is said when an action is done; nothing for a name that is none, since an address may hold anything.

    >>> done_words("freeze"), done_words("<script>")
    ('Frozen: no version moves forward by itself.', '')
    """
    action = OF_MODELS.get(name) or OF_ALERTS.get(name)
    return action.done if action else ""
