"""The one boundary between things that have nothing to do with each other: one that is broken stops no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from controlplane.errors import Busy, StaleEpoch
from controlplane.lifecycle import IllegalTransition

LOG: Final = logging.getLogger(__name__)


def apart(what: str, act: Callable[[], object]) -> bool:
    """Whether the step went well. Where it did not the log says why, and the next tick or pass tries again."""
    try:
        act()
    except (StaleEpoch, IllegalTransition) as error:
        LOG.warning("%s: another control plane was faster: %s", what, error)
        return False
    except Busy as error:
        LOG.warning("%s waits: %s", what, error)
        return False
    except Exception:  # whatever it is: the other models, versions and runs must not wait for it
        LOG.exception("%s could not take its step", what)
        return False
    return True
