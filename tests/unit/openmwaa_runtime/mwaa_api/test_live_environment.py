# SPDX-License-Identifier: Apache-2.0
"""What runs now, from Airflow's health; and overrides, which the scaler writes."""

import json
from collections.abc import Mapping

import pytest

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.http_message import HttpAnswer
from openmwaa_runtime.auth.scaler_client import ScalerClient
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


class AnsweringClient(ScalerClient):
    """Keeps the last write, and gives one answer."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__("http://scaler.invalid", "k" * 64)
        self._answer = answer

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        self.sent = (method, target, json.loads(body or b"null"))
        return self._answer


def test_bounds_change_the_override_and_keep_its_other_fields() -> None:
    client = AnsweringClient(HttpAnswer.of_json(200, {}))
    RunningEnvironment(client, lambda: b"").set_override("default", minimum=None, maximum=0, by="arn")
    assert client.sent == ("PATCH", "/v1/overrides/default", {"version": 1, "max": 0, "by": "arn"})


def test_bounds_that_the_scaler_refuses_are_refused_with_its_reason() -> None:
    client = AnsweringClient(HttpAnswer.of_json(400, {"error": "min (5) must not be above max (4)"}))
    with pytest.raises(BoundsRefusedError, match=r"min \(5\) must not be above max \(4\)"):
        RunningEnvironment(client, lambda: b"").set_override("default", minimum=5, maximum=4, by="arn")


@pytest.mark.parametrize("status", [None, 403, 404, 503], ids=["no scaler", "another key", "no key", "an outage"])
@pytest.mark.parametrize(
    ("minimum", "maximum", "options"), [(2, 8, " --min 2 --max 8"), (0, None, " --min 0"), (None, 8, " --max 8")]
)
def test_an_override_that_is_not_written_names_the_command(
    status: int | None, minimum: int | None, maximum: int | None, options: str
) -> None:
    client = AnsweringClient(HttpAnswer.of_json(status, {})) if status else None
    with pytest.raises(AuthUnavailableError, match=f"`openmwaa scale --fleet default{options}`"):
        RunningEnvironment(client, lambda: b"").set_override("default", minimum=minimum, maximum=maximum, by="arn")
