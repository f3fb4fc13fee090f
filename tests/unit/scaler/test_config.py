# SPDX-License-Identifier: Apache-2.0
"""Settings: what is read, and that every mistake names its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scaler import config
from scaler.errors import ConfigurationError

FLEET = {"name": "default", "service": "worker-default", "queues": {"default": "url"}, "slots": 5, "min": 1, "max": 5}
GOOD: dict[str, Any] = {
    "version": 1,
    "environment": "quickstart",
    "region": "us-east-1",
    "cluster": "openmwaa-quickstart",
    "database": {"host": "db", "port": 5432, "name": "airflow", "user": "scaler", "sslmode": "require"},
    "fleets": [FLEET],
}
SECRETS = {"SCALER_DATABASE_PASSWORD": "hunter2", "SCALER_SIGNING_SEED": "seed"}


def environment(**changes: Any) -> dict[str, str]:
    return {"SCALER_CONFIG": json.dumps(GOOD | changes), **SECRETS}


def test_reads_and_fills_in() -> None:
    settings, hidden = config.read(environment())
    assert (settings.interval_s, settings.scale_in_window_s, settings.launch_deadline_s) == (5.0, 60.0, 300.0)
    assert (settings.agent_port, settings.http_port) == (8790, 8082)
    fleet = settings.core_fleet(settings.fleets[0])
    assert (fleet.name, fleet.queues, fleet.slots, fleet.minimum, fleet.maximum) == ("default", ("default",), 5, 1, 5)
    assert hidden.signing_seed == "seed"
    assert "hunter2" not in repr(hidden) + repr(settings)


def test_a_fleet_without_database_needs_no_password() -> None:
    settings, _ = config.read({"SCALER_CONFIG": json.dumps(GOOD | {"database": None}), "SCALER_SIGNING_SEED": "seed"})
    assert settings.database is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"version": 2}, "SCALER_CONFIG.version", id="version"),
        pytest.param({"interval_s": 0}, "SCALER_CONFIG.interval_s", id="interval"),
        pytest.param({"interval_s": float("nan")}, "SCALER_CONFIG.interval_s", id="not a number"),
        pytest.param({"fleets": []}, "SCALER_CONFIG.fleets", id="no fleet"),
        pytest.param({"fleets": [FLEET | {"slots": 0}]}, "SCALER_CONFIG.fleets.0.slots", id="no slots"),
        pytest.param({"fleets": [FLEET | {"min": 6}]}, r"min \(6\) must not be above max \(5\)", id="min above max"),
        pytest.param({"fleets": [FLEET | {"queues": {}}]}, "SCALER_CONFIG.fleets.0.queues", id="no queue"),
        pytest.param({"fleets": [FLEET | {"maximum": 6}]}, "SCALER_CONFIG.fleets.0.maximum", id="unknown field"),
        pytest.param(
            {"fleets": [FLEET, FLEET | {"name": "high", "service": "high"}]}, "queue default is used twice", id="queue"
        ),
        pytest.param({"database": {"host": "db", "port": 0}}, "SCALER_CONFIG.database.port", id="port"),
    ],
)
def test_every_mistake_names_its_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        config.read(environment(**changes))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({}, "SCALER_CONFIG is not set", id="nothing"),
        pytest.param({"SCALER_CONFIG": '{"version": '}, "not JSON", id="half-written"),
        pytest.param({"SCALER_CONFIG": "[]"}, "SCALER_CONFIG", id="no object"),
        pytest.param({"SCALER_CONFIG": json.dumps(GOOD)}, "SCALER_DATABASE_PASSWORD", id="no password"),
        pytest.param({"SCALER_CONFIG": json.dumps(GOOD)}, "SCALER_SIGNING_SEED", id="no seed"),
    ],
)
def test_every_missing_variable_is_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        config.read(given)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.read(environment(interval_s=-1, agent_port=0, region=""))
    assert len(caught.value.problems) == 3
