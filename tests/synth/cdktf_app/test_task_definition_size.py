# SPDX-License-Identifier: Apache-2.0
"""Validation counts at least what RegisterTaskDefinition receives, with the longest values that Terraform adds."""

import json
import re
from pathlib import Path

import pytest

from openmwaa.config.aws_limits import MAX_TASK_DEFINITION, TASK_DEFINITION_ROOM
from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

REFERENCE = re.compile(r"\$\{[^{}]*\}")
# An ARN with a name of 80 characters; a URL of a queue.
LONGEST_REFERENCE = "r" * 170


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


@pytest.mark.parametrize("fleets", [40, 60])
def test_the_scalers_settings_are_not_larger_than_counted(fleets: int) -> None:
    schedule = [{"cron": "0 6 * * 1-5", "minutes": 60, "min": 3, "timezone": "Europe/Zurich"}]
    metric = {"namespace": "Acme/Video", "metric_name": "FramesWaiting", "dimensions": {"Stage": "prod"}}
    spec = {"schedule": schedule, "demand_metric": metric, "fallback": {"mode": "fixed", "count": 2}}
    data = {f"f{number}" + "x" * 17: {"queues": [f"q{number}" + "q" * 37], **spec} for number in range(fleets)}
    data["f0" + "x" * 17]["queues"] = ["default"]
    text = json.dumps({**LEAST, "fleets": data})
    try:
        loads(text, Path("environment.yaml"))
    except EnvironmentFileError:
        accepted = False
    else:
        accepted = True
    assert accepted == (fleets == 40)
    if accepted:
        assert characters(stack_of(fleets=data), "scaler") < MAX_TASK_DEFINITION


def test_options_that_are_accepted_fit_into_the_schedulers_task() -> None:
    options = {f"smtp.a{number}": 'x<&>"' * 100 for number in range(11)}
    assert characters(stack_of(airflow_configuration_options=options), "scheduler") < MAX_TASK_DEFINITION
