# SPDX-License-Identifier: Apache-2.0
"""Who and where this ECS task is, from the task metadata endpoint (version 4); everywhere in a task without one."""

import json
import os
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError

METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
HOSTNAME_VARIABLE = "OPENMWAA_HOSTNAME"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - outside ECS there is one address a host, and its firewall
_TIMEOUT_S = 2.0
_ATTEMPTS = 5


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


def read_identity(environ: Mapping[str, str]) -> TaskIdentity:
    """Ask the metadata endpoint, at most 5 times 2 s; without the variable the answer is "every address".

    Raises:
        OSError: the variable is set and the endpoint does not answer.
    """
    base = environ.get(METADATA_VARIABLE)
    if not base:
        return TaskIdentity(ANY_ADDRESS, None)
    # The endpoint is link-local: a proxy for the world must not see the request.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    failure: OSError = URLError("not asked")
    for _ in range(_ATTEMPTS):
        try:
            with opener.open(f"{base.rstrip('/')}/task", timeout=_TIMEOUT_S) as response:
                return identity_of(json.load(response))
        except (OSError, ValueError) as error:
            failure = error if isinstance(error, OSError) else URLError(str(error))
    raise failure


def hostname() -> str:
    """What Airflow writes into `job.hostname` and `task_instance.hostname` (`[core] hostname_callable`).

    On a worker it is the ECS task id, by which a dead worker's tasks are found; elsewhere the address others connect
    to.
    """
    return os.environ.get(HOSTNAME_VARIABLE) or socket.gethostname()
