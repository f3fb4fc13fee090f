# SPDX-License-Identifier: Apache-2.0
"""Every option name exists in the installed version of Airflow, because Airflow ignores unknown options."""

import ast
from pathlib import Path

import pytest
import yaml

from openmwaa_runtime.lost_worker import OPTION
from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.defaults import DEFAULTS
from tests.support.airflow import find_airflow

# Read by kombu, which takes any transport option.
TRANSPORT = "celery_broker_transport_options."
KOMBU = {
    *("region", "visibility_timeout", "wait_time_seconds", "predefined_queues"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive"),
}


def _options_of_core(airflow: Path) -> set[str]:
    sections = yaml.safe_load((airflow / "config_templates" / "config.yml").read_text(encoding="utf-8"))
    return {f"{section}.{option}" for section, content in sections.items() for option in content["options"]}


def _options_of_celery(airflow: Path) -> set[str]:
    module = ast.parse((airflow / "providers" / "celery" / "get_provider_info.py").read_text(encoding="utf-8"))
    (answer,) = [
        ast.literal_eval(node.value) for node in ast.walk(module) if isinstance(node, ast.Return) and node.value
    ]
    return {f"{section}.{option}" for section, content in answer["config"].items() for option in content["options"]}


def test_every_option_exists_in_the_installed_airflow() -> None:
    environment = find_airflow()
    if environment is None:
        pytest.skip("Airflow is not installed here")
    (airflow,) = environment.glob("lib/python3.*/site-packages/airflow")
    known = _options_of_core(airflow) | _options_of_celery(airflow) | {TRANSPORT + option for option in KOMBU}
    known |= {f"openmwaa.{OPTION}"}
    unknown = {setting.name for setting in (*CONNECTIONS, *DEFAULTS)} - known
    assert not unknown, f"Airflow would ignore {sorted(unknown)}"
