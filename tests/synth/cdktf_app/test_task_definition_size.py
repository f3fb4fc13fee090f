# SPDX-License-Identifier: Apache-2.0
"""Validation counts at least what RegisterTaskDefinition receives, with the longest values that Terraform adds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.aws_limits import (
    CONTAINER_ROOM,
    MAX_TASK_DEFINITION,
    TASK_DEFINITION_ROOM,
    task_definition_sizes,
)
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

REFERENCE = re.compile(r"\$\{[^{}]*\}")
# An ARN with a name of 80 characters; a URL of a queue.
LONGEST_REFERENCE = "r" * 170
SEPARATE = {"control_plane": "SEPARATE"}


def characters(stack: Stack, task: str) -> int:
    """The bytes of a task's containers as JSON, with a long text for each value that Terraform adds."""
    containers = stack.tasks[task]
    text = json.dumps(containers, separators=(",", ":"))
    for name, value in stack.document["locals"].items():
        if f"${{jsonencode(local.{name})}}" in text:
            inner = json.dumps(json.dumps(value, separators=(",", ":")))[1:-1]
            text = text.replace(f"${{jsonencode(local.{name})}}", inner)
    return len(REFERENCE.sub(LONGEST_REFERENCE, text))


def test_all_that_the_file_does_not_lengthen_fits_beside_the_room(longest_names: Stack) -> None:
    own = MAX_TASK_DEFINITION - TASK_DEFINITION_ROOM
    for task in longest_names.tasks:
        size = characters(longest_names, task)
        assert size < MAX_TASK_DEFINITION, task
        if task.startswith("worker") or task in ("scheduler", "scaler"):
            continue
        assert size < own, task
    assert characters(stack_of(name="e" * 80), "scheduler") < own
    assert characters(stack_of(name="e" * 80), "scaler") < own
    assert characters(stack_of(name="e" * 80), "web-server") < own - CONTAINER_ROOM


def test_a_task_of_all_components_fits_beside_its_room() -> None:
    own = MAX_TASK_DEFINITION - TASK_DEFINITION_ROOM + 4 * CONTAINER_ROOM
    stack = stack_of(name="e" * 80, control_plane="COMPACT", broker={"kind": "ELASTICACHE"})
    assert characters(stack, "control-plane") < own


def with_schedules(fleets: int, schedules: int) -> dict[str, Any]:
    schedule = [{"cron": "0 6 * * 1-5", "minutes": 60, "min": 3, "timezone": "Europe/Zurich"}] * schedules
    metric = {"namespace": "Acme/Video", "metric_name": "FramesWaiting", "dimensions": {"Stage": "prod"}}
    spec = {"schedule": schedule, "demand_metric": metric, "fallback": {"mode": "fixed", "count": 2}}
    names = ["default", *(f"q{number}".ljust(40, "q") for number in range(1, fleets))]
    return {f"f{number}".ljust(20, "x"): {"queues": [names[number]], **spec} for number in range(fleets)}


def beside_the_fleets(fleets: dict[str, Any]) -> int:
    resolved = Environment.model_validate({**LEAST, **SEPARATE, "fleets": fleets}).fleets.values()
    return characters(stack_of(fleets=fleets), "scaler") - task_definition_sizes({}, resolved)["scaler"]


def test_the_scalers_settings_are_not_larger_than_counted() -> None:
    """The file is the largest that is accepted: with one more schedule the fleets do not fit."""
    with pytest.raises(EnvironmentFileError, match=r"in the scaler's task definition.*ecs RegisterTaskDefinition"):
        loads(json.dumps({**LEAST, **SEPARATE, "fleets": with_schedules(30, 9)}), Path("environment.yaml"))
    assert beside_the_fleets(with_schedules(30, 8)) <= beside_the_fleets(with_schedules(1, 0))


@pytest.mark.parametrize(("form", "task", "number"), [("SEPARATE", "scheduler", 11), ("COMPACT", "control-plane", 2)])
def test_options_that_are_accepted_fit_into_the_schedulers_task(form: str, task: str, number: int) -> None:
    options = {f"mine.a{index}": 'x<&>"' * 100 for index in range(number)}
    stack = stack_of(control_plane=form, airflow_configuration_options=options)
    assert characters(stack, task) < MAX_TASK_DEFINITION
    more = {f"mine.a{index}": 'x<&>"' * 100 for index in range(number + 1)}
    with pytest.raises(ValueError, match=f"the {task}'s task definition"):
        stack_of(control_plane=form, airflow_configuration_options=more)
