# SPDX-License-Identifier: Apache-2.0
"""`openmwaa plan` has a part of the environment for every resource."""

from openmwaa.plan.changes import OTHER, Change
from tests.support.stack import Stack


def test_every_resource_is_of_a_part(quickstart: Stack, byo_resources: Stack) -> None:
    resources = {
        (kind, name)
        for stack in (quickstart, byo_resources)
        for kind, named in stack.document["resource"].items()
        for name in named
    }
    lost = sorted(f"{kind}.{name}" for kind, name in resources if Change("", kind, name, "add").part == OTHER)
    assert not lost, f"say in openmwaa.plan.changes of which part they are: {', '.join(lost)}"
