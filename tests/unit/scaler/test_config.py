# SPDX-License-Identifier: Apache-2.0
"""Settings: what is read, and that every mistake names its field."""

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.config.environment import read_settings
from scaler.config.settings import parse_settings
from scaler.core.model import LookAheadPolicy
from scaler.errors import ConfigurationError

FLEET: dict[str, Any] = {
    "name": "default",
    "services": ["worker-default-a", "worker-default-b"],
    "queues": {"default": "https://sqs.us-east-1.amazonaws.com/123456789012/default"},
    "slots": 5,
    "min": 1,
    "max": 5,
}
OTHER = {
    "name": "high",
    "services": ["worker-high-a"],
    "queues": {"high": "http://sqs/1/high"},
    "slots": 5,
    "min": 0,
    "max": 5,
}
GOOD: dict[str, Any] = {
    "version": 2,
    "environment": "quickstart",
    "region": "us-east-1",
    "cluster": "openmwaa-quickstart",
    "database": {"host": "db", "port": 5432, "name": "airflow", "user": "scaler", "sslmode": "require"},
    "fleets": [FLEET],
}
SECRETS = {"SCALER_DATABASE_PASSWORD": "hunter2", "SCALER_SIGNING_SEED": "seed"}
REDIS = {"kind": "redis", "url": "redis://:hunter2@broker:6379/0"}
MORNING = {"cron": "0 6 * * 1-5", "minutes": 720, "min": 4, "timezone": "Europe/Zurich"}


def environment(**changes: Any) -> dict[str, str]:
    return {"SCALER_CONFIG": json.dumps(GOOD | changes), **SECRETS}


def fleet(**changes: Any) -> dict[str, Any]:
    return {"fleets": [FLEET | changes]}


def test_reads_settings_with_defaults() -> None:
    settings, hidden = read_settings(environment())
    assert (settings.interval_s, settings.scale_in_window_s, settings.launch_deadline_s) == (5.0, 60.0, 300.0)
    assert (settings.agent_port, settings.http_port) == (8790, 8082)
    assert settings.broker.kind == "sqs"
    assert (settings.overrides_prefix, settings.metrics_namespace, settings.record_dir) == (None, None, None)
    assert (settings.calls.writes_per_s, settings.calls.burst) == (5.0, 20)
    core = settings.core_fleet(settings.fleets[0])
    assert (core.name, core.queues, core.slots, core.minimum, core.maximum) == ("default", ("default",), 5, 1, 5)
    assert hidden.signing_seed == "seed"
    assert "hunter2" not in repr(hidden) + repr(settings)


def test_reads_every_field() -> None:
    document = {
        "broker": {"kind": "redis", "url": "rediss://broker:6379/0", "global_keyprefix": "celery-"},
        "overrides_prefix": "/openmwaa/quickstart/scaler/",
        "metrics_namespace": "openmwaa",
        "record_dir": "/var/lib/openmwaa",
        "calls": {"writes_per_s": 2, "burst": 4},
        **fleet(
            min=0,
            queues={"default": "default"},
            schedule=[MORNING],
            fallback={"mode": "fixed", "count": 3, "after_s": 60},
            desired_count_drift="adopt",
            look_ahead={"wait_worth": 2, "headroom": True},
        ),
    }
    settings, _ = read_settings(environment(**document))
    assert settings.core_fleet(settings.fleets[0]).look_ahead == LookAheadPolicy(2.0, headroom=True)
    assert settings.fleets[0].services == ("worker-default-a", "worker-default-b")
    assert settings.fleets[0].schedule[0].timezone == "Europe/Zurich"
    assert settings.fleets[0].fallback.count == 3
    assert json.loads(settings.model_dump_json())["overrides_prefix"] == "/openmwaa/quickstart/scaler/"


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    settings, _ = read_settings({"SCALER_CONFIG_FILE": str(path), **SECRETS})
    assert settings.environment == "quickstart"


@pytest.mark.parametrize(
    ("secret", "user", "password"),
    [
        ('{"username": "scaler_b", "password": "hunter2"}', "scaler_b", "hunter2"),
        ("hunter2", None, "hunter2"),
        ("1234", None, "1234"),
    ],
    ids=["object", "plain", "digits"],
)
def test_a_secret_may_contain_the_user(secret: str, user: str | None, password: str) -> None:
    settings, hidden = read_settings(environment() | {"SCALER_DATABASE_PASSWORD": secret})
    assert (hidden.database_user, hidden.database_password) == (user, password)
    assert settings == read_settings(environment())[0], "a reload would take the login for a change of the settings"
    assert "hunter2" not in repr(hidden)


def test_a_fleet_without_database_needs_no_password() -> None:
    settings, _ = read_settings({"SCALER_CONFIG": json.dumps(GOOD | {"database": None}), "SCALER_SIGNING_SEED": "seed"})
    assert settings.database is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"version": 1}, "SCALER_CONFIG.version", id="version"),
        pytest.param({"interval_s": 0}, "SCALER_CONFIG.interval_s", id="interval"),
        pytest.param({"interval_s": float("nan")}, "SCALER_CONFIG.interval_s", id="not a number"),
        pytest.param({"interval_s": "5"}, "SCALER_CONFIG.interval_s", id="a number in quotes"),
        pytest.param({"fleets": []}, "SCALER_CONFIG.fleets", id="no fleet"),
        pytest.param(fleet(look_ahead={"wait_worth": 0}), "fleets.0.look_ahead.wait_worth", id="a worthless wait"),
        pytest.param(
            {"database": None, **fleet(look_ahead={})}, "look_ahead of default needs the database", id="no plan"
        ),
        pytest.param(fleet(slots=0), "SCALER_CONFIG.fleets.0.slots", id="no slots"),
        pytest.param(fleet(min=6), r"min \(6\) must not be above max \(5\)", id="min above max"),
        pytest.param(fleet(min=-1), r"SCALER_CONFIG.fleets.0.min", id="negative min"),
        pytest.param(fleet(services=[]), r"SCALER_CONFIG.fleets.0.services", id="no service"),
        pytest.param(fleet(queues={}), "SCALER_CONFIG.fleets.0.queues", id="no queue"),
        pytest.param(fleet(maximum=6), "SCALER_CONFIG.fleets.0.maximum", id="unknown field"),
        pytest.param(fleet(services=["a", "a"]), "service a is used twice", id="one service for two generations"),
        pytest.param(fleet(schedule=[MORNING | {"cron": "6 o'clock"}]), "is not a cron expression", id="cron"),
        pytest.param(fleet(schedule=[MORNING | {"timezone": "Zurich"}]), "not a time zone", id="time zone"),
        pytest.param(fleet(schedule=[MORNING | {"min": 6}]), r"min \(6\) of .* above max", id="schedule above max"),
        pytest.param(
            fleet(fallback={"mode": "fixed", "count": 6}), r"count \(6\) must be from 0 to max", id="fallback"
        ),
        pytest.param(fleet(fallback={"mode": "fixed", "count": -1}), r"count \(-1\) must be", id="fallback below 0"),
        pytest.param(fleet(fallback={"after_s": 0}), r"after_s \(0.*\) must be above 0", id="fallback without delay"),
        pytest.param(fleet(fallback={"colour": 1}), "fallback.colour", id="unknown field of the fallback"),
        pytest.param(
            {"fleets": [FLEET, OTHER | {"queues": {"default": "http://sqs/1/x"}}]}, "queue default is used", id="queue"
        ),
        pytest.param({"fleets": [FLEET, OTHER | {"services": ["worker-default-b"]}]}, "service worker", id="service"),
        pytest.param({"database": {"host": "db", "port": 0}}, "SCALER_CONFIG.database.port", id="port"),
        pytest.param({"broker": {"kind": "kafka"}}, "SCALER_CONFIG.broker", id="unknown broker"),
        pytest.param({"broker": REDIS}, "set SCALER_BROKER_URL", id="password in a URL"),
        pytest.param({"broker": {"kind": "redis", "url": "broker:6379"}}, "must look like redis://", id="no URL"),
        pytest.param({"metrics_namespace": "AWS/ECS"}, "SCALER_CONFIG.metrics_namespace", id="Amazon's namespace"),
        pytest.param({"overrides_prefix": "openmwaa"}, "SCALER_CONFIG.overrides_prefix", id="prefix"),
        pytest.param({"calls": {"writes_per_s": 0}}, "SCALER_CONFIG.calls.writes_per_s", id="no writes"),
    ],
)
def test_every_error_names_its_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        read_settings(environment(**changes))
    assert len(caught.value.problems) == 1, "one mistake is one line"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({}, "SCALER_CONFIG is not set", id="nothing"),
        pytest.param({"SCALER_CONFIG": '{"version": '}, "Invalid JSON", id="half-written"),
        pytest.param({"SCALER_CONFIG": "[]"}, "SCALER_CONFIG", id="no object"),
        pytest.param({"SCALER_CONFIG": json.dumps(GOOD)}, "SCALER_DATABASE_PASSWORD", id="no password"),
        pytest.param({"SCALER_CONFIG": json.dumps(GOOD)}, "SCALER_SIGNING_SEED", id="no seed"),
        pytest.param({"SCALER_CONFIG_FILE": "/nonexistent/scaler.json"}, "cannot be read", id="no file"),
        pytest.param({"SCALER_CONFIG_FILE": "/x", "SCALER_CONFIG": "{}"}, "both set", id="both"),
    ],
)
def test_every_missing_variable_is_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_settings(given)


def test_all_errors_are_reported_at_once() -> None:
    given = environment(interval_s=-1, agent_port=0, region="", fleets=[FLEET | {"slots": 0}, OTHER | {"min": 9}])
    with pytest.raises(ConfigurationError) as caught:
        read_settings({"SCALER_CONFIG": given["SCALER_CONFIG"]})
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert places == [
        "SCALER_CONFIG.region",
        "SCALER_CONFIG.interval_s",
        "SCALER_CONFIG.agent_port",
        "SCALER_CONFIG.fleets.0.slots",
        "SCALER_CONFIG.fleets.1",
        "SCALER_SIGNING_SEED is not set; workers accept signed commands only",
    ]


def test_names_the_settings_that_need_a_restart() -> None:
    before = parse_settings(json.dumps(GOOD))
    after = parse_settings(json.dumps(GOOD | {"region": "eu-west-1", "http_port": 1, "interval_s": 7, **fleet(max=9)}))
    assert before.changes_at_start_only(after) == ["http_port", "region"]
    assert not before.changes_at_start_only(before)
