# SPDX-License-Identifier: Apache-2.0
"""Who and where this ECS task is, from the task metadata endpoint (version 4); everywhere in a task without one."""

import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openmwaa_runtime.errors import MetadataProblem

METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
HOSTNAME_VARIABLE = "OPENMWAA_HOSTNAME"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - outside ECS there is one address a host, and its firewall
_TIMEOUT_S = 2.0
_ATTEMPTS = 5
_PAUSE_S = 0.5


@dataclass(frozen=True)
class TaskIdentity:
    """The address servers bind to, and the ECS task's id (None outside ECS)."""

    address: str
    task_id: str | None


def identity_of(answer: Mapping[str, Any]) -> TaskIdentity:
    """Pick address and id from the endpoint's `/task` answer; the first IPv4 address of the first network wins."""
    for container in answer.get("Containers") or ():
        for network in container.get("Networks") or ():
            for address in network.get("IPv4Addresses") or ():
                arn = str(answer.get("TaskARN") or "")
                return TaskIdentity(str(address), arn.rpartition("/")[2] or None)
    return TaskIdentity(ANY_ADDRESS, str(answer.get("TaskARN") or "").rpartition("/")[2] or None)


def read_identity(environ: Mapping[str, str], *, sleep: Callable[[float], None] = time.sleep) -> TaskIdentity:
    """Ask the metadata endpoint, for at most 15 s; without the variable the answer is "every address".

    Raises:
        MetadataProblem: the variable is set and the endpoint does not answer.
    """
    base = environ.get(METADATA_VARIABLE)
    if not base:
        return TaskIdentity(ANY_ADDRESS, None)
    # The endpoint is link-local: a proxy for the world must not see the request.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    failure = ""
    for attempt in range(_ATTEMPTS):
        sleep(attempt * _PAUSE_S)
        try:
            with opener.open(f"{base.rstrip('/')}/task", timeout=_TIMEOUT_S) as response:
                return identity_of(json.load(response))
        except (OSError, ValueError) as error:
            failure = str(error)
    raise MetadataProblem(f"the task metadata endpoint {base} does not answer: {failure}")


def hostname() -> str:
    """What Airflow writes into `job.hostname` and `task_instance.hostname` (`[core] hostname_callable`).

    On a worker it is the ECS task id, by which a dead worker's tasks are found; elsewhere the address others connect
    to.
    """
    return os.environ.get(HOSTNAME_VARIABLE) or socket.gethostname()
