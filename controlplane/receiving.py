"""A signed webhook becomes a run: one for each id, however often it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from controlplane.access.acts import Act
from controlplane.access.hooks import secret_of, verify
from controlplane.errors import BadSignature, NotFound, Refused, TooLong
from controlplane.loop.triggers import ask
from controlplane.rules.decide import WEBHOOK
from controlplane.store import Store
from controlplane.tables import TrainingRun
from controlplane.words import one_line

BODY_LIMIT: Final = 64 * 1024
REASON_LENGTH: Final = 500


def receive_hook(
    store: Store, model_id: str, headers: Mapping[str, str], body: bytes, key: bytes, wall_now: datetime, now: datetime
) -> TrainingRun:
    """The run that a signed call asks for; sent again under its id it is the same run.

    Raises TooLong, BadSignature (also for a model that is not there: only who can sign is told more), Refused for a
    signed body that is no JSON object, and RunActive: the same call may then be sent again later.
    """
    if len(body) > BODY_LIMIT:
        raise TooLong(f"a webhook's body has at most {BODY_LIMIT} bytes", limit=BODY_LIMIT)
    generation = store.hook_generation(model_id)
    message_id = verify(secret_of(key, model_id, generation), headers, body, wall_now)
    if generation == 0:
        raise BadSignature("no secret was given out for this model")
    reason = _reason(body)
    act = Act(f"hook:{model_id}", None, "hook", message_id, reason)
    try:
        return ask(store, model_id, message_id, reason, now, act, WEBHOOK)
    except NotFound as error:
        raise BadSignature("no secret was given out for this model") from error


def renew_hook_secret(store: Store, model_id: str, key: bytes, act: Act) -> str:
    """A new secret of the model's webhook, to be shown once; the one before opens nothing any more. Raises NotFound."""
    return secret_of(key, model_id, store.renew_hook(model_id, act))


def _reason(body: bytes) -> str:
    """What the call gives as its reason. It may say more, or nothing at all."""
    if not body.strip():
        return ""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("the body is not JSON") from error
    if not isinstance(said, dict):
        raise Refused('the body is not a JSON object such as {"reason": "the catalogue changed"}')
    reason = said.get("reason", "")
    if not isinstance(reason, str):
        raise Refused("reason: not a text", field="reason")
    return one_line(reason)[:REASON_LENGTH]
