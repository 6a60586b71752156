"""The route of a request as it is counted: the route's form, so that no id of anything is ever a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

STATIC: Final = "/static/"
#: what led to no route, or was not let in
NONE: Final = "none"


def route_of(scope: Mapping[str, Any]) -> str:
    """The route that answered.

    >>> route_of({"path": "/static/page.css"}), route_of({"path": "/api/v1/nothing"})
    ('/static', 'none')
    """
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return STATIC.rstrip("/") if scope["path"].startswith(STATIC) else NONE
