"""A real serving process with a real control plane: whom it lets in, also when the control plane has gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import uvicorn

from controlplane.access.auth import Authenticator
from controlplane.access.tokens import Minted, mint
from controlplane.api import Parts, create_app
from tests.controlplane_world import World
from tests.serving_harness import ServingProcess, free_port, serving, wait_until

#: long enough for a loaded machine to see the token let in
ENDS = timedelta(seconds=10)


@contextmanager
def answering(world: World, port: int) -> Iterator[str]:
    """The API at an address, until the block ends."""
    app = create_app(Parts(world.store, world.blobs, world.clock, Authenticator(world.store)))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the API answers")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def lets_in(service: ServingProcess, token: Minted) -> bool:
    with service.client(token.secret) as client:
        return client.get("/v1/loaded").status_code == 200


def test_a_revocation_arrives_with_the_desired_state_and_an_end_holds_while_the_control_plane_is_away(tmp_path):
    world = World(tmp_path)
    made = {name: mint() for name in ("serving", "kept", "revoked", "ends")}
    world.store.create_token(made["serving"], "serving", "service", "service", None)
    for name in ("kept", "revoked"):
        world.store.create_token(made[name], name, "predict", "predict", None)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(tmp_path / "home", url, token=made["serving"].secret) as service:
        with answering(world, port):
            service.wait_ready("/healthz")
            wait_until(lambda: lets_in(service, made["revoked"]), "the desired state has arrived")
            world.store.create_token(made["ends"], "ends", "predict", "predict", datetime.now(UTC) + ENDS)
            wait_until(lambda: lets_in(service, made["ends"]), "a new token is let in")
            world.store.revoke_token(made["revoked"].id)
            wait_until(lambda: not lets_in(service, made["revoked"]), "a revoked token is refused")
            assert not lets_in(service, made["serving"])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        assert lets_in(service, made["kept"])
        wait_until(lambda: not lets_in(service, made["ends"]), "an ended token is refused", ENDS.total_seconds() * 2)
        assert lets_in(service, made["kept"]) and not lets_in(service, made["revoked"])
