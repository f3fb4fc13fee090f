# SPDX-License-Identifier: Apache-2.0
"""Every Airflow option that openmwaa owns or depends on has a verdict, and a file cannot break it silently."""

from pathlib import Path

import pytest

from openmwaa.config.airflow_options import OWNED_CELERY_KEYS, OWNED_OPTIONS, REFUSED
from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from openmwaa_runtime.settings.connections import CONNECTIONS
from tests.support.environments import LEAST_YAML

FILE = Path("environment.yaml")
FLEETS = "fleets: {x: {queues: [default, gpu]}}\n"


def _file(option: str, value: str, more: str = FLEETS) -> str:
    return f"{LEAST_YAML}{more}airflow_configuration_options:\n  {option}: '{value}'\n"


def test_every_connection_has_one_verdict() -> None:
    options = [row.option for row in OWNED_OPTIONS]
    assert len(options) == len(set(options))
    missing = {setting.name for setting in CONNECTIONS} - set(options)
    assert not missing, "an option that the runtime sets to connect components needs a verdict"


@pytest.mark.parametrize("option", sorted(REFUSED))
def test_an_option_that_openmwaa_owns_is_refused(option: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file(option, "10,1"), FILE)
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (5, f"airflow_configuration_options.{option}")
    assert problem.message.startswith("openmwaa sets this option: ")


def test_the_autoscaler_of_celery_is_slots() -> None:
    with pytest.raises(EnvironmentFileError, match="set `slots` of a fleet to the maximum"):
        loads(_file("celery.worker_autoscale", "10,1"), FILE)


@pytest.mark.parametrize(
    ("option", "bad", "good"),
    [
        ("operators.default_queue", "cpu", "gpu"),
        ("celery.extra_celery_config", "worker: 1", '{"worker_max_tasks_per_child": 10}'),
        ("celery.extra_celery_config", "[1]", "{}"),
        ("celery.extra_celery_config", "[" * 60_000, "{}"),
        ("celery.pool", "gevent", "prefork"),
        ("celery.worker_enable_remote_control", "True", "False"),
        *(("celery.extra_celery_config", f'{{"{key}": 1}}', "{}") for key in sorted(OWNED_CELERY_KEYS)),
    ],
    ids=lambda text: text[:40],
)
def test_an_option_is_checked(option: str, bad: str, good: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(_file(option, bad), FILE)
    assert str(caught.value).startswith(f"environment.yaml:5: airflow_configuration_options.{option}: is ")
    assert loads(_file(option, good), FILE).airflow_configuration_options == {option: good}


def test_remote_control_is_possible_with_redis() -> None:
    loads(_file("celery.worker_enable_remote_control", "True", "broker: {kind: ELASTICACHE}\n"), FILE)


@pytest.mark.parametrize("option", [row.option for row in OWNED_OPTIONS if row.verdict == "yours"])
def test_an_option_of_the_user_is_accepted(option: str) -> None:
    assert loads(_file(option, "1"), FILE).airflow_configuration_options == {option: "1"}
