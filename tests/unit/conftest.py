# SPDX-License-Identifier: Apache-2.0
"""Unit tests start no process and open no server, so that they are fast and need only Python."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_FORBIDDEN = {
    "os.exec": "a process",
    "os.fork": "a process",
    "os.posix_spawn": "a process",
    "os.system": "a process",
    "socket.bind": "a server",
    "subprocess.Popen": "a process",
}


class Guard:
    """Fails a unit test that starts a process or a server; such a test belongs into tests/synth or tests/emulated."""

    def __init__(self) -> None:
        self._is_on = False
        sys.addaudithook(self._refuse)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_on and event in _FORBIDDEN:
            detail = arguments[1] if event == "socket.bind" else arguments[0]
            raise AssertionError(
                f"a unit test starts {_FORBIDDEN[event]} ({detail!r}): move it to tests/synth or tests/emulated"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._on(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._on(item):
            return (yield)

    @contextmanager
    def _on(self, item: pytest.Item) -> Iterator[None]:
        # Off at teardown: after the last test, fixtures of other tiers end their processes there.
        self._is_on = item.nodeid.startswith("tests/unit/")
        try:
            yield
        finally:
            self._is_on = False


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Guard(), "openmwaa-unit-guard")
