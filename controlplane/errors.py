"""What can go wrong in the control plane, as one tree.

ControlPlaneError
├── Refused                    the caller asked for something that cannot be done; nothing was changed
│   ├── NotFound
│   ├── Conflict
│   │   ├── RunActive          a run is active, or a version is on its way
│   │   ├── RunEnded
│   │   ├── NotTrainedHere     the model is only watched: there is nothing to train
│   │   ├── NothingToRollBackTo
│   │   ├── ClockNotReplayed
│   │   ├── Frozen             a person holds the model's rollouts
│   │   ├── NameTaken          a token of this name lets somebody in
│   │   ├── KeyReused          another request came under this Idempotency-Key
│   │   ├── NotReportable      a window cannot be compared any more, or never could
│   │   ├── KeyBusy            the same request is being worked on
│   │   └── AnswerLost         the request was carried out, but its answer is not known
│   ├── Changed                If-Match: the thing is not as the caller saw it
│   ├── BadCursor              (of a list) not one that this list gave
│   ├── TooLong                a body has more bytes than may be read
│   ├── SpecRefused
│   ├── EventsRefused          events or a reference do not fit the model: none was taken
│   ├── EgressRefused          an address that may not be called
│   └── Denied
│       ├── Unauthenticated
│       ├── Forbidden
│       ├── BadSignature       a webhook whose signature or time is wrong
│       └── TooManyAttempts
├── Unsafe                     the settings would start something that others can get into
├── SchemaBehind               the database's schema is not this release's
├── Busy                       the database could not take it now; nothing was changed
├── Occupied                   as many as may do this at a time are at it: nothing is wrong
│   ├── TrialsBusy
│   ├── ReferencesBusy
│   └── ReportsBusy
├── ReportFailed               the process that writes a report ended without one
├── NotTaken                   the spool could not take events: post them again
├── NotDelivered               a channel did not take a notification; it is tried again
├── NotDeciding                the API answers, but nothing is decided
├── StaleEpoch                 a holder that lost its lease tried to write; nothing was written
├── BrokenEvidence             stored bytes that a decision needs are not there or not readable
├── Unreachable                (client) the control plane does not answer
└── Answered                   (client) the control plane answered with an error
"""

from __future__ import annotations

from typing import Any, ClassVar


class ControlPlaneError(RuntimeError):
    """The control plane cannot do this."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", **details: Any) -> None:  # noqa: ANN401 - whatever explains it
        self.message = message or (self.__doc__ or "")
        self.details = details
        super().__init__(self.message)


class Refused(ControlPlaneError):
    """The request cannot be granted; nothing was changed."""

    code = "refused"
    status = 400


class NotFound(Refused):
    """There is no such thing."""

    code = "not_found"
    status = 404


class Conflict(Refused):
    """The present state does not allow it."""

    code = "conflict"
    status = 409


class RunActive(Conflict):
    """A run is active or a version is on its way: try again when it has ended."""

    code = "run_active"


class RunEnded(Conflict):
    """The run has ended: there is nothing to cancel."""

    code = "run_ended"


class NotTrainedHere(Conflict):
    """The model is only watched: its spec has no entry, from which it could be trained here."""

    code = "not_trained_here"


class NothingToRollBackTo(Conflict):
    """There is no retired version to go back to."""

    code = "nothing_to_roll_back_to"


class ClockNotReplayed(Conflict):
    """The clock is the machine's and cannot be set: start with CONTROLPLANE_CLOCK=replay."""

    code = "clock_not_replayed"


class Frozen(Conflict):
    """A person froze the rollouts of this model: take the hold away first."""

    code = "frozen"


class NameTaken(Conflict):
    """A token of this name lets somebody in: revoke it, or choose another name."""

    code = "name_taken"


class NotReportable(Conflict):
    """There is nothing that a report of this window could show."""

    code = "not_reportable"


class KeyReused(Conflict):
    """Another request came under this Idempotency-Key: send a new key with a new request."""

    code = "key_reused"


class KeyBusy(Conflict):
    """A request under this Idempotency-Key is being worked on: repeat it in a moment."""

    code = "key_busy"


class AnswerLost(Conflict):
    """This request was carried out before, but its answer was not kept: read what it changed."""

    code = "answer_lost"


class Changed(Refused):
    """It is not as you saw it any more: read it again, then repeat the change with its new ETag."""

    code = "changed"
    status = 412


class BadCursor(Refused):
    """This is no cursor of this list: begin without one, and take `next` from each answer."""

    code = "bad_cursor"
    status = 422


class TooLong(Refused):
    """The body has more bytes than may be read."""

    code = "too_large"
    status = 413


class EgressRefused(Refused):
    """This address may not be called: add its host to CONTROLPLANE_ALLOWED_HOSTS."""

    code = "egress_refused"
    status = 422


class SpecRefused(Refused):
    """The spec cannot be used."""

    code = "spec_refused"
    status = 422


class EventsRefused(Refused):
    """What was posted does not fit the model; none of it was taken."""

    code = "events_refused"
    status = 422


class Denied(Refused):
    """The caller may not do this."""


class Unauthenticated(Denied):
    """Send a valid token: Authorization: Bearer dg_..."""

    code = "unauthenticated"
    status = 401


class Forbidden(Denied):
    """The token does not have the scope that this needs."""

    code = "forbidden"
    status = 403


class BadSignature(Denied):
    """The signature or the time of this webhook is wrong."""

    code = "bad_signature"
    status = 401


class TooManyAttempts(Denied):
    """Too many wrong tokens from this address or for this account: wait a minute."""

    code = "too_many_attempts"
    status = 429


class Unsafe(ControlPlaneError):
    """These settings would let others in."""

    code = "unsafe"


class SchemaBehind(ControlPlaneError):
    """The database's schema is not this release's: run `driftgate migrate`."""

    code = "schema_behind"


class Busy(ControlPlaneError):
    """The database could not take this now; nothing was changed: try again."""

    code = "busy"
    status = 503


class Occupied(ControlPlaneError):
    """As many as may do this at a time are at it: ask again soon."""

    code = "occupied"
    status = 503


class TrialsBusy(Occupied):
    """Others try rules now, and a trial takes the processor for itself: ask again soon."""

    code = "trials_busy"


class ReferencesBusy(Occupied):
    """Others declare references now, which takes the processor for itself: post it again soon."""

    code = "references_busy"


class ReportsBusy(Occupied):
    """Another report is being written, which takes the processor for itself: ask again soon."""

    code = "reports_busy"


class ReportFailed(ControlPlaneError):
    """The report could not be written: see the log of the control plane."""

    code = "report_failed"


class NotTaken(ControlPlaneError):
    """The events could not be written to the disk: post them again, what was kept is kept once."""

    code = "not_taken"
    status = 503


class NotDelivered(ControlPlaneError):
    """A channel did not take a notification."""

    code = "not_delivered"


class NotDeciding(ControlPlaneError):
    """Requests are answered, but nothing is decided: see the log of the control plane."""

    code = "not_ready"
    status = 503


class StaleEpoch(ControlPlaneError):
    """Another holder has claimed the run; nothing was written."""

    code = "stale_epoch"
    status = 409


class BrokenEvidence(ControlPlaneError):
    """Stored bytes that a decision needs are missing or cannot be read."""

    code = "broken_evidence"


class Unreachable(ControlPlaneError):
    """The control plane does not answer: start it with `driftgate up`."""

    code = "unreachable"


class Answered(ControlPlaneError):
    """The control plane answered with an error."""

    code = "answered"
