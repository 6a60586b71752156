"""The BentoML service. `python -m serving` starts it in BentoML's own worker; so does
`bentoml serve serving.service:DriftgateService`.

Of BentoML's layers, metrics (an open route), the access log and tracing are off: the prediction events and our own
metrics say more, and all three cost time in every request.
"""

from __future__ import annotations

import bentoml

from observability.telemetry.requests import Named
from serving.app import Application
from serving.door import Door
from serving.safety import take_settings
from serving.telling import telling

application = Application(take_settings, telling)


class Answers:
    """Answers with the versions that the control plane promoted."""


DriftgateService = bentoml.service(
    Answers,
    name="DriftgateService",
    workers=1,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
DriftgateService.mount_asgi_app(application.asgi)
DriftgateService.add_asgi_middleware(Named, answered=application.answered)
DriftgateService.add_asgi_middleware(Door, inner=application.asgi, guard=application)
