# SPDX-License-Identifier: Apache-2.0
"""One step over each bound of the environment that `make verify` applies is refused, with field and rule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment_file import loads
from openmwaa.errors import EnvironmentFileError
from tests.support.limits import limits

Change = Callable[[dict[str, Any]], object]


def _fleet(data: dict[str, Any]) -> dict[str, Any]:
    fleet: dict[str, Any] = next(iter(data["fleets"].values()))
    return fleet


STEPS: dict[str, tuple[Change, str, str]] = {
    "a longer name": (lambda data: data.update(name=data["name"] + "z"), "name", "mwaa Name"),
    "a longer fleet": (lambda data: data["fleets"].update({"f" * 21: {"queues": ["x"]}}), "fleets", "at most 20"),
    "a longer queue": (lambda data: _fleet(data)["queues"].append("q" * 41), "fleets.", "(rule: sqs"),
    "one more queue": (lambda data: _fleet(data)["queues"].append("q" * 40), "fleets", "iam PutRolePolicy"),
    "one more tag": (lambda data: data["tags"].update(more="x"), "tags", "AWS allows 50"),
    "a longer key": (
        lambda data: data["tags"].update({"k" * 128: data["tags"].popitem()[1]}),
        "tags.",
        "ec2 Tag Key",
    ),
    "a longer value": (
        lambda data: data["tags"].update({next(iter(data["tags"])): "v" * 257}),
        "tags.",
        "iam TagValueType",
    ),
    "another character": (
        lambda data: data["tags"].update({next(iter(data["tags"])): "a;b"}),
        "tags.",
        "iam TagValueType",
    ),
    "a longer prefix": (
        lambda data: data["identity"].update(role_name_prefix="p" * 21),
        "identity.role_name_prefix",
        "iam RoleName",
    ),
    "a blank in the path": (lambda data: data["identity"].update(path="/a b/"), "identity.path", "iam pathType"),
    "a longer path": (lambda data: data["identity"].update(path="/" + "p" * 511 + "/"), "identity.path", "512"),
    "a longer folder": (lambda data: data.update(dag_s3_path="d" * 1025), "dag_s3_path", "1024"),
    "a line feed": (
        lambda data: data["airflow_configuration_options"].update({"my_team.user": "a\nb"}),
        "airflow_configuration_options.my_team.user",
        "mwaa ConfigValue",
    ),
}


def test_the_environment_at_the_bounds_is_accepted() -> None:
    assert len(loads(json.dumps(limits()), Path("environment.yaml")).tags) == 48


@pytest.mark.parametrize(("change", "field", "rule"), STEPS.values(), ids=list(STEPS))
def test_one_step_over_a_bound_is_refused(change: Change, field: str, rule: str) -> None:
    data = limits()
    change(data)
    with pytest.raises(EnvironmentFileError) as caught:
        loads(json.dumps(data), Path("environment.yaml"))
    (problem,) = caught.value.problems
    assert problem.field.startswith(field)
    assert rule in problem.message
