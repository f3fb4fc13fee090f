# SPDX-License-Identifier: Apache-2.0
"""Environment variables of the programs that call the emulators: no proxy, no certificates, no AWS account of the user.

PYTHONPATH is removed too: the emulator has its own packages, and PYTHONPATH would put ours before them.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK

COMMAND, DAEMON, WATCHDOG, EMULATOR, POSTGRESQL = "command", "daemon", "watchdog", "emulator", "postgresql"
"""Values of `CONTAINER_MARK` for processes that are no container."""
_REMOVED = {
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PYTHONPATH",
}
LOCAL_AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.0/8,localhost",
    "no_proxy": "127.0.0.0/8,localhost",
}


def child_environment(
    more: Mapping[str, str] | None = None, *, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """This process's environment (or `base`) without `AWS_*`, proxies and certificates, plus `more`."""
    source = os.environ if base is None else base
    kept = {
        name: value for name, value in source.items() if name.upper() not in _REMOVED and not name.startswith("AWS_")
    }
    return {**kept, **LOCAL_AWS, **(more or {})}


def python_path() -> str:
    """PYTHONPATH for a child that imports openmwaa from this installation."""
    folder = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


def command_marks(environment_id: str) -> dict[str, str]:
    """Variables by which the next command finds the programs that a killed command left running."""
    return {ENVIRONMENT_MARK: environment_id, CONTAINER_MARK: COMMAND}
