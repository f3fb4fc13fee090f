# SPDX-License-Identifier: Apache-2.0
"""The scaler's page behind the login."""

import socket
import threading
from collections.abc import Iterator

import pytest

from openmwaa_runtime.auth import scaler_page
from openmwaa_runtime.auth.scaler_page import PATH, ScalerPage
from tests.support.login_parts import request

LOGGED_IN = {"cookie": "_token=viewer"}


@pytest.fixture
def hanging_scaler() -> Iterator[socket.socket]:
    """A scaler that accepts connections and answers none until it is closed."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener


def test_a_scaler_that_hangs_holds_as_many_threads_as_connections(
    hanging_scaler: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaler_page, "MAX_WAIT_S", 0.05)
    page = ScalerPage(f"http://127.0.0.1:{hanging_scaler.getsockname()[1]}", "/login", lambda token: token == "viewer")
    statuses: list[int] = []
    waiting = [
        threading.Thread(target=lambda: statuses.append(page.handle(request("GET", PATH, headers=LOGGED_IN)).status))
        for _ in range(4)
    ]
    for thread in waiting:
        thread.start()
    held = [hanging_scaler.accept()[0] for _ in waiting]
    beyond = page.handle(request("GET", PATH, headers=LOGGED_IN))
    for connection in held:
        connection.close()
    for thread in waiting:
        thread.join()
    assert beyond.status == 503
    assert statuses == [503] * 4
