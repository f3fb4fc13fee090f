# SPDX-License-Identifier: Apache-2.0
"""Every stack that an environment can have is priced, and `openmwaa cost` shows the result."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.cost.estimate import estimate
from openmwaa.cost.floor import WORKERS, charges, month_by_part
from openmwaa.cost.price_list import list_prices
from openmwaa.cost.stack import from_document, from_state
from openmwaa.errors import CostError
from tests.support.cost_stack import state_of
from tests.support.environments import LEAST
from tests.support.synthesis import EXAMPLES, stack_document

US = list_prices("us-east-1")
NAMES = sorted(file.parent.name for file in EXAMPLES.glob("*/environment.yaml"))
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:database-AbCdEf"
OTHERS: dict[str, dict[str, Any]] = {
    "cloudfront": {
        "webserver_access_mode": "PUBLIC_AND_PRIVATE",
        "web_access": {"allowed_cidrs": ["203.0.113.0/24"], "allow_http": True, "access_logs_days": 7},
    },
    "scaled web servers": {"environment_class": "mw1.medium", "min_webservers": 2, "max_webservers": 5},
    "an existing database": {
        "metadata_database": {
            "kind": "EXISTING",
            "host": "database.example.com",
            "master_secret_arn": ARN,
            "security_group_id": "sg-0123456789abcdef0",
        }
    },
    "no alarms and no dashboard": {"monitoring": {"alarms": False, "dashboard": False}},
    **{f"class {size}": {"environment_class": size} for size in ("mw1.micro", "mw1.medium", "mw1.xlarge")},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_resource_of_an_example_has_a_price(name: str) -> None:
    environment = load(EXAMPLES / name / "environment.yaml")
    document = stack_document(environment)
    found = charges(from_document(document), US)
    assert found
    assert found == charges(from_state(state_of(document)), US), "before and after an apply"
    assert sum(month_by_part(found).values()) > 30


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_every_resource_of_other_environments_has_a_price(fields: dict[str, Any]) -> None:
    environment = Environment.model_validate({**LEAST, **fields})
    assert sum(month_by_part(charges(from_document(stack_document(environment)), US)).values()) > 30


def test_a_type_without_a_price_is_an_error() -> None:
    document = stack_document(Environment.model_validate(LEAST))
    document["resource"]["aws_efs_file_system"] = {"disk": {}}
    with pytest.raises(CostError, match=r"aws_efs_file_system\.disk: there is no price for this type"):
        charges(from_document(document), US)


def test_a_fleet_at_zero_costs_nothing_while_idle() -> None:
    environment = Environment.model_validate({**LEAST, "min_workers": 0, "architecture": "X86_64"})
    found = estimate(environment, from_document(stack_document(environment)), US)
    assert WORKERS not in found["parts"]
    assert [hour["usd"] for hour in found["worker_hours"]] == [pytest.approx(0.04048 + 2 * 0.004445)]


def test_mwaas_price_has_the_files_counts() -> None:
    counts = {"schedulers": 3, "min_webservers": 3, "max_webservers": 3, "min_workers": 4}
    environment = Environment.model_validate({**LEAST, "environment_class": "mw1.medium", **counts})
    mwaa = estimate(environment, from_document(stack_document(environment)), US)["mwaa"]
    assert (mwaa["schedulers"], mwaa["web_servers"], mwaa["workers"]) == (3, 3, 4)
    alone = 730 * (0.74 + 0.11 + 0.055 + 3 * 0.11) + 1.00
    assert mwaa["usd_month_without_nat"] == pytest.approx(alone, abs=0.01)
    assert mwaa["usd_month"] == pytest.approx(alone + 730 * 0.05, abs=0.01)
    assert mwaa["unconfirmed_prices"] == ["mw1.medium web server"]


@pytest.mark.parametrize("size", ["mw1.micro", "mw1.xlarge"])
def test_a_class_without_a_price_of_mwaa_is_unknown(size: str) -> None:
    environment = Environment.model_validate({**LEAST, "environment_class": size})
    data = estimate(environment, from_document(stack_document(environment)), US)
    assert data["mwaa"]["usd_month"] is data["share_of_mwaa"] is None
    assert f"no price of {size} environment" in data["mwaa"]["unknown"]


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["cost", *words], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_has_the_parts_of_the_sum() -> None:
    data = json.loads(run(str(EXAMPLES / "quickstart/environment.yaml"), "--json"))
    assert sum(part["usd_month"] for part in data["parts"].values()) == pytest.approx(data["usd_month"], abs=0.05)
    for part in data["parts"].values():
        assert sum(unit["usd_month"] for unit in part["units"]) == pytest.approx(part["usd_month"], abs=0.05)
    nat = data["parts"]["NAT gateways"]["usd_month"]
    assert data["usd_month"] - data["usd_month_without_nat"] == pytest.approx(nat)
    assert data["mwaa"]["usd_month"] - data["mwaa"]["usd_month_without_nat"] == pytest.approx(nat)
    assert data["share_of_mwaa"] == pytest.approx(data["usd_month"] / data["mwaa"]["usd_month"], abs=0.001)


def test_the_text_names_what_is_unknown_and_what_is_not_included() -> None:
    shown = run(str(EXAMPLES / "production/environment.yaml"))
    assert shown.startswith("production in eu-central-1: ")
    assert "MWAA: There is no price of mw1.large environment in eu-central-1" in shown
    assert "Not confirmed: load balancer." in shown
    assert "Not included: data transfer and requests" in shown
    elsewhere = run(str(EXAMPLES / "production/environment.yaml"), "--region", "us-east-1")
    assert elsewhere.startswith("production in us-east-1: ")


def test_a_region_without_prices_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "environment.yaml"
    file.write_text(json.dumps({**LEAST, "region": "ap-south-1"}))
    result = CliRunner().invoke(app, ["cost", str(file)])
    assert isinstance(result.exception, CostError)
    assert "no list prices of ap-south-1" in str(result.exception)
