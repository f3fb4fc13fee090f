# SPDX-License-Identifier: Apache-2.0
"""An apply ends when the control plane is healthy, and never waits for workers, which may take hours."""

import pytest

from tests.support.stack import Stack

CONTROL_PLANE = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "scaler")


@pytest.mark.parametrize("name", CONTROL_PLANE)
def test_an_apply_fails_where_the_control_plane_is_not_what_was_applied(quickstart: Stack, name: str) -> None:
    service = quickstart.services[name]
    assert service["wait_for_steady_state"] is True
    assert service["deployment_circuit_breaker"] == {"enable": True, "rollback": True}
    (condition,) = service["lifecycle"]["postcondition"]
    # The provider is content with a service that ECS rolled back: it is steady again.
    assert condition["condition"] == f"${{self.task_definition == {service['task_definition'][2:-1]}}}"
    assert f"ECS rolled {name} back" in condition["error_message"]


def test_an_apply_never_waits_for_workers(quickstart: Stack) -> None:
    workers = {name: service for name, service in quickstart.services.items() if name not in CONTROL_PLANE}
    assert workers
    assert not [name for name, service in workers.items() if service.get("wait_for_steady_state")]
