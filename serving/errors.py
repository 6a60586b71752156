"""Errors of serving.

ServingError
├── Refused             what a caller sent is not answered; carries HTTP status, code and details
├── VersionUnusable     a version cannot be loaded; carries the reason that is reported
├── ControlUnavailable  the control plane does not answer; what is loaded goes on
└── Unsafe              a setting with which the start is refused
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServingError(Exception):
    """Root of the errors of serving."""


class Refused(ServingError):
    """The request is not answered as asked; says why in the one shape that all errors have."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class VersionUnusable(ServingError):
    """The version cannot be put in service; the one before goes on."""


class ControlUnavailable(ServingError):
    """The control plane does not answer, or not as agreed."""


class Unsafe(ServingError):
    """A setting with which the start is refused; the message says what to do."""
