# SPDX-License-Identifier: Apache-2.0
"""What runs now, from Airflow's health; and the refusal of overrides, with the command that sets them."""

import json

import pytest

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.mwaa_api.environment import BoundsRefusedError
from openmwaa_runtime.mwaa_api.live_environment import RunningEnvironment


@pytest.mark.parametrize(("status", "healthy"), [("healthy", True), ("unhealthy", False), (None, False)])
def test_the_heartbeat_of_the_scheduler_decides(status: str | None, healthy: bool) -> None:
    body = json.dumps({"metadatabase": {"status": "healthy"}, "scheduler": {"status": status}}).encode()
    assert RunningEnvironment(None, lambda: body).healthy() is healthy


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"scheduler": null}'])
def test_an_unreadable_health_is_unknown_and_not_unhealthy(body: bytes) -> None:
    with pytest.raises(AuthUnavailableError):
        RunningEnvironment(None, lambda: body).healthy()


def test_without_an_address_of_the_scaler_the_bounds_are_unknown() -> None:
    assert RunningEnvironment(None, lambda: b"").bounds() == {}


@pytest.mark.parametrize(
    ("minimum", "maximum", "options"), [(2, 8, " --min 2 --max 8"), (0, None, " --min 0"), (None, 8, " --max 8")]
)
def test_a_refused_override_names_the_command(minimum: int | None, maximum: int | None, options: str) -> None:
    with pytest.raises(BoundsRefusedError, match=f"`openmwaa scale --fleet default{options}`"):
        RunningEnvironment(None, lambda: b"").set_override("default", minimum=minimum, maximum=maximum, by="arn")
