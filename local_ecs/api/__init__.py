# SPDX-License-Identifier: Apache-2.0
"""A local ECS: AWS's API for the pure `local_ecs.model`, with tasks as processes of this machine.

ecs = LocalEcs(LocalEcsSettings(host="127.16.0.2"), runner=ProcessTaskRunner(...), targets=load_balancer)
await ecs.start()      # then AWS_ENDPOINT_URL_ECS=ecs.endpoint
ecs.status()           # services and tasks as JSON data
await ecs.stop()
"""

from local_ecs.api.clock import EcsClock, ManualClock, ShiftedClock
from local_ecs.api.journal import Entry, Journal
from local_ecs.api.local_ecs import LocalEcs
from local_ecs.api.settings import BlockAddresses, LocalEcsSettings, NoTargets, TargetRegistry
from local_ecs.api.state_file import StateFileError

__all__ = [
    "BlockAddresses",
    "EcsClock",
    "Entry",
    "Journal",
    "LocalEcs",
    "LocalEcsSettings",
    "ManualClock",
    "NoTargets",
    "ShiftedClock",
    "StateFileError",
    "TargetRegistry",
]
