# SPDX-License-Identifier: Apache-2.0
"""The form of the control plane: its default, its services, and the fields that it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from openmwaa.config.control_plane import COMPONENTS
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES, check_fargate
from tests.support.environments import LEAST


def environment_of(**fields: Any) -> Environment:
    return Environment.model_validate({**LEAST, **fields})


@pytest.mark.parametrize("name", ENVIRONMENT_CLASSES)
def test_micro_and_small_are_compact_by_default_and_the_others_separate(name: str) -> None:
    expected = "COMPACT" if name in ("mw1.micro", "mw1.small") else "SEPARATE"
    assert environment_of(environment_class=name).control_plane == expected
    for other in ("COMPACT", "SEPARATE"):
        assert environment_of(environment_class=name, control_plane=other).control_plane == other


def test_the_class_that_is_left_out_is_compact() -> None:
    assert environment_of().control_plane == "COMPACT"


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"environment_class": "mw1.micro"}, (1, 2, 2)),
        ({"environment_class": "mw1.micro", "control_plane": "SEPARATE"}, (1, 1, 1)),
        ({"environment_class": "mw1.small"}, (2, 2, 2)),
        ({"environment_class": "mw1.small", "control_plane": "SEPARATE"}, (2, 2, 2)),
    ],
    ids=["compact micro", "separate micro", "compact small", "separate small"],
)
def test_the_counts_are_those_of_the_class(fields: dict[str, Any], counts: tuple[int, ...]) -> None:
    environment = environment_of(**fields)
    assert (environment.schedulers, environment.min_webservers, environment.max_webservers) == counts
    assert not environment.scales_webservers


@pytest.mark.parametrize("form", ["COMPACT", "SEPARATE"])
def test_every_component_is_in_one_service(form: str) -> None:
    environment = environment_of(control_plane=form)
    assert sorted(component for components in environment.services.values() for component in components) == sorted(
        COMPONENTS
    )
    assert set(environment.service_of) == set(COMPONENTS)
    assert len(environment.services) == (1 if form == "COMPACT" else 5)


SIZE = {"cpu": 2048, "memory": 8192}


@pytest.mark.parametrize(
    ("fields", "at", "message"),
    [
        ({"min_webservers": 2}, "min_webservers", "`schedulers` is also their number; leave `min_webservers` out"),
        ({"max_webservers": 2}, "max_webservers", "leave `max_webservers` out, or write `control_plane: SEPARATE`"),
        (
            {"environment_class": "mw1.micro", "min_webservers": 1},
            "min_webservers",
            "each task of a COMPACT control plane contains a web server",
        ),
        ({"sizes": {"webserver": SIZE}}, "webserver", "no task of a COMPACT control plane; use `sizes.control_plane`"),
        (
            {"sizes": {"control_plane": SIZE}, "control_plane": "SEPARATE"},
            "control_plane",
            "no task of a SEPARATE control plane; use the sizes of its components",
        ),
        (
            {"airflow_configuration_options": {f"mine.a{number}": "x" * 1000 for number in range(8)}},
            "airflow_configuration_options",
            "control-plane's task definition, and at most .* fit; or write `control_plane: SEPARATE`",
        ),
    ],
    ids=["minimum", "maximum", "micro", "size of a component", "size of the task", "options"],
)
def test_fields_without_effect_are_refused_with_the_reason(fields: dict[str, Any], at: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        environment_of(**fields)
    assert refused.value.errors()[0]["ctx"]["error"].at[-1] == at


def test_the_same_options_are_accepted_by_a_separate_control_plane() -> None:
    options = {f"mine.a{number}": "x" * 1000 for number in range(8)}
    environment_of(airflow_configuration_options=options, control_plane="SEPARATE")


@pytest.mark.parametrize("name", ENVIRONMENT_CLASSES)
def test_the_size_of_a_compact_task_is_one_of_fargate(name: str) -> None:
    size = ENVIRONMENT_CLASSES[name].control_plane
    check_fargate(size.cpu, size.memory)
    assert size.memory == 3 * size.cpu
