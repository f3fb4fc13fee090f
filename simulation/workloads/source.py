# SPDX-License-Identifier: Apache-2.0
"""Reads the workloads that a command names: the JSON form, the scaler's log, instances of WfCommons, shipped ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmwaa.errors import OpenmwaaError
from simulation.workloads.decisions import decisions_workload
from simulation.workloads.document import WorkloadError, read_workload
from simulation.workloads.model import Workload
from simulation.workloads.shipped import SHIPPED, shipped_workload
from simulation.workloads.wfcommons import instances_workload


def load_workloads(names: Sequence[str], seed: int) -> list[Workload]:
    """Return the workloads in order; the instances of WfCommons together make the last one.

    Raises:
        WorkloadError: a file has wrong fields.
        OpenmwaaError: a name is neither a file nor a shipped workload, or a file cannot be read.
    """
    found: list[Workload] = []
    instances: dict[str, bytes] = {}
    for name in names:
        if name in SHIPPED:
            found.append(shipped_workload(name, seed))
            continue
        text = _read(name)
        try:
            found.append(read_workload(text, name))
        except WorkloadError:
            dag_id = Path(name).stem
            if (demand := decisions_workload(text, dag_id)) is not None:
                found.append(demand)
                continue
            if not _is_instance(text):
                raise
            if dag_id in instances:
                raise OpenmwaaError(f"{name}: another instance has this name; rename the file") from None
            instances[dag_id] = text
    return [*found, instances_workload(instances)] if instances else found


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise OpenmwaaError(
            f"WORKLOAD {name!r} is neither a file nor a shipped workload: {', '.join(SHIPPED)}"
        ) from None
    except (OSError, ValueError) as error:
        raise OpenmwaaError(f"WORKLOAD {name!r} cannot be read: {error}") from None


def _is_instance(text: bytes) -> bool:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and "workflow" in document
