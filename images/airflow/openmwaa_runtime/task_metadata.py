# SPDX-License-Identifier: Apache-2.0
"""The id and address of this ECS task, from the task metadata endpoint (version 4)."""

import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openmwaa_runtime.errors import MetadataError

METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
HOSTNAME_VARIABLE = "OPENMWAA_HOSTNAME"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - outside ECS, where the host's firewall protects the port
_TIMEOUT_S = 2.0
_ATTEMPTS = 5
_PAUSE_S = 0.5


@dataclass(frozen=True)
class TaskIdentity:
    """The address that servers bind to, and the id of the ECS task (None outside ECS)."""

    address: str
    task_id: str | None


def identity_of(answer: Mapping[str, Any]) -> TaskIdentity:
    """Return the address and the id in the endpoint's `/task` answer. The first IPv4 address is used."""
    task_id = str(answer.get("TaskARN") or "").rpartition("/")[2] or None
    networks = [network for container in answer.get("Containers") or () for network in container.get("Networks") or ()]
    addresses = [str(address) for network in networks for address in network.get("IPv4Addresses") or ()]
    return TaskIdentity(addresses[0] if addresses else ANY_ADDRESS, task_id)


def read_identity(environ: Mapping[str, str], *, sleep: Callable[[float], None] = time.sleep) -> TaskIdentity:
    """Read the metadata endpoint, for at most 15 s. Without the variable the address is "every address".

    Raises:
        MetadataError: the variable is set and the endpoint does not respond.
    """
    base = environ.get(METADATA_VARIABLE)
    if not base:
        return TaskIdentity(ANY_ADDRESS, None)
    # The endpoint is link-local, so the request must not use a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    failure = ""
    for attempt in range(_ATTEMPTS):
        sleep(attempt * _PAUSE_S)
        try:
            with opener.open(f"{base.rstrip('/')}/task", timeout=_TIMEOUT_S) as response:
                return identity_of(json.load(response))
        except (OSError, ValueError) as error:
            failure = str(error)
    raise MetadataError(f"the task metadata endpoint {base} does not respond: {failure}")


def hostname() -> str:
    """The value of `job.hostname` and `task_instance.hostname` in Airflow (`[core] hostname_callable`).

    On a worker it is the ECS task id, which identifies the tasks of a dead worker. Elsewhere it is the address for
    connections.
    """
    return os.environ.get(HOSTNAME_VARIABLE) or socket.gethostname()
