"""Signed webhooks in the form of Standard Webhooks: what changed of one model's alerts in one request.

Receivers check the signature over the raw body, and drop what they have seen: the same message comes again under the
same `webhook-id`, and each change in it has an id of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from controlplane.notifying.channels import Links
from controlplane.notifying.egress import Egress
from controlplane.tables import Notification
from observability.clock import Clock


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 over id, time and body. A secret of the form whsec_BASE64 stands for its bytes."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass  # it only looks like one
    return secret.encode()


@dataclass(frozen=True)
class Webhook:
    """A channel that posts to an address outside, through the egress."""

    name: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    egress: Egress
    links: Links
    wall: Clock

    def groups(self, claimed: Sequence[Notification]) -> Sequence[Sequence[Notification]]:
        def by_model(row: Notification) -> str:
            return row.body["model"] or ""

        return [list(rows) for _, rows in groupby(sorted(claimed, key=by_model), key=by_model)]

    def send(self, group: Sequence[Notification]) -> None:
        model: str | None = group[0].body["model"]
        message: dict[str, Any] = {
            "type": "alerts.changed", "model": model, "link": self.links.page_of(model),
            "alerts": [self._told(row) for row in group],
        }  # fmt: skip
        body = json.dumps(message, separators=(",", ":")).encode()
        # the same changes are the same message, and others are another, whatever they are grouped with next time
        message_id = f"msg_{hashlib.sha256(' '.join(row.id for row in group).encode()).hexdigest()[:32]}"
        timestamp = int(self.wall.now().timestamp())
        headers = {
            "Content-Type": "application/json", "User-Agent": "driftgate", "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self.secret, message_id, timestamp, body),
        }  # fmt: skip
        self.egress.post(self.url, body, headers)

    def keep_up(self) -> None:
        """Nothing: each change is told once it is taken."""

    def _told(self, row: Notification) -> dict[str, Any]:
        return {"id": row.id, **row.body, "runbook_url": self.links.runbook_of(row.body["name"])}
