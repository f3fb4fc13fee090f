# SPDX-License-Identifier: Apache-2.0
"""An apply waits for a healthy control plane, but not for workers, which may take hours."""

import pytest

from tests.support.stack import Stack

CONTROL_PLANE = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "scaler")


@pytest.mark.parametrize("name", CONTROL_PLANE)
def test_an_apply_fails_if_the_control_plane_was_rolled_back(quickstart: Stack, name: str) -> None:
    service = quickstart.services[name]
    assert service["wait_for_steady_state"] is True
    assert service["deployment_circuit_breaker"] == {"enable": True, "rollback": True}
    (condition,) = service["lifecycle"]["postcondition"]
    # For the provider a rolled back service is stable; the postcondition checks the revision.
    assert condition["condition"] == f"${{self.task_definition == {service['task_definition'][2:-1]}}}"
    assert f"ECS rolled back {name}" in condition["error_message"]


def test_an_apply_never_waits_for_workers(quickstart: Stack) -> None:
    workers = {name: service for name, service in quickstart.services.items() if name not in CONTROL_PLANE}
    assert workers
    assert not [name for name, service in workers.items() if service.get("wait_for_steady_state")]
