"""Signed webhooks in the Standard Webhooks form: who has the model's secret sent exactly these bytes, and just now.

webhook-id         names the call; sent again under the same id it has no second effect
webhook-timestamp  Unix seconds; five minutes off at most, to either side
webhook-signature  v1,BASE64 of HMAC-SHA256 over `id.timestamp.body`; several may stand there, with a space between
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from controlplane.errors import BadSignature

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
#: how far the sender's clock may be from ours
TOLERANCE: Final = timedelta(minutes=5)
#: signatures of one call: the one of the present secret and those of secrets that are being taken out of use
SIGNATURES: Final = 10
PREFIX: Final = "whsec_"

#: without a dot, or `a.1` and `a` followed by `1.` would sign the same
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


def secret_of(key: bytes, model: str, generation: int) -> str:
    """The secret of a model's webhook, as its owner is shown it: made of the installation's key, and stored nowhere.

    >>> secret_of(b"k", "default/tweets", 1)[:10]
    'whsec_BKOV'
    """
    derived = hmac.digest(key, f"hook:{model}:{generation}".encode(), "sha256")
    return PREFIX + base64.b64encode(derived).decode()


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a call, as it stands in its header."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def check_headers(given: Mapping[str, str]) -> tuple[str, str]:
    """The id and the time that a call says, which are known before its body. Raises BadSignature without them."""
    message_id, timestamp = given.get(ID, ""), given.get(TIMESTAMP, "")
    if not _ID.fullmatch(message_id):
        raise BadSignature(f"{ID}: 1 to 64 letters, digits, - or _")
    if not _SECONDS.fullmatch(timestamp):
        raise BadSignature(f"{TIMESTAMP}: Unix seconds")
    if not given.get(SIGNATURE):
        raise BadSignature(f"{SIGNATURE}: there is none")
    return message_id, timestamp


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The id of a call that was signed with this secret within the tolerance. Raises BadSignature.

    What is compared is the text of the signature, not what it decodes to: of one signature there is one text.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = check_headers(given)
    expected = sign(secret, message_id, timestamp, body).encode()
    signatures = given.get(SIGNATURE, "").split(" ")[:SIGNATURES]
    if not any([hmac.compare_digest(each.encode("utf-8", "replace"), expected) for each in signatures]):
        raise BadSignature(f"{SIGNATURE}: not signed with the present secret of this model")
    if abs(now - datetime.fromtimestamp(int(timestamp), now.tzinfo)) > TOLERANCE:
        raise BadSignature(f"{TIMESTAMP}: more than five minutes from the time of the control plane")
    return message_id
