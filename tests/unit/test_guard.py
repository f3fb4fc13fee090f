# SPDX-License-Identifier: Apache-2.0
"""The guard of the unit tier sees what it must refuse."""

import socket
import subprocess
import sys

import pytest


def test_a_unit_test_cannot_start_a_process() -> None:
    with pytest.raises(AssertionError, match="a unit test starts a process"):
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_unit_test_cannot_open_a_server() -> None:
    with socket.socket() as listener, pytest.raises(AssertionError, match="a unit test starts a server"):
        listener.bind(("127.0.0.1", 0))
