# SPDX-License-Identifier: Apache-2.0
"""The module: with its defaults it equals the stack, and its variables change the right resources."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cdktf_app.module.main import files
from openmwaa.config.environment import Environment
from tests.support.environments import LEAST
from tests.support.module import complaints, mockable, planned, terraform_test
from tests.support.synthesis import stack_document
from tests.support.terraform import terraform_environment

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "terraform" / "module"
PLAN = """
mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_rds_engine_version" {
    defaults = { version_actual = "16.11" }
  }
  mock_data "aws_availability_zones" {
    defaults = {
      names    = ["us-east-1a", "us-east-1b", "us-east-1c"]
      zone_ids = ["use1-az4", "use1-az3", "use1-az1"]
    }
  }
  PROVIDERS
}
run "plan" {
  command = plan
}
"""
# A name that every service has to shorten or change in its own way, and options that have to win.
ENVIRONMENT = {
    **LEAST,
    "control_plane": "SEPARATE",
    "name": "Data_Platform--" + "x" * 65,
    "min_webservers": 1,
    "max_webservers": 3,
    "airflow_configuration_options": {"core.parallelism": "7", "common.io.xcom_objectstorage_path": "s3://x"},
    "tags": {"team": "data"},
    "fleets": {
        "default": {"queues": ["default"]},
        "heavy": {"queues": ["heavy"], "class": "mw1.large", "min": 0, "max": 3},
    },
}


@pytest.fixture(scope="module")
def environment() -> Environment:
    return Environment.model_validate(ENVIRONMENT)


@pytest.fixture(scope="module")
def module(environment: Environment) -> dict[str, str]:
    return files(environment)


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on PATH")
    return terraform_environment(tmp_path_factory.mktemp("provider"))


def plan_of(texts: dict[str, str], folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    """The plan of Terraform for some files."""
    for name, text in texts.items():
        content = json.dumps(mockable(json.loads(text))) if name in {"main.tf.json", "cdk.tf.json"} else text
        (folder / name).write_text(content)
    (folder / "plan.tftest.hcl").write_text(PLAN.replace("PROVIDERS", ""))
    events = terraform_test(folder, variables)
    assert not list(complaints(events))
    return planned(events)


@pytest.mark.timeout(600)
def test_with_its_defaults_the_module_plans_what_the_stack_plans(
    environment: Environment, module: dict[str, str], variables: dict[str, str], tmp_path: Path
) -> None:
    stack, called = tmp_path / "stack", tmp_path / "module"
    stack.mkdir()
    called.mkdir()
    expected = plan_of({"cdk.tf.json": json.dumps(stack_document(environment))}, stack, variables)
    found = plan_of({name: text for name, text in module.items() if name.endswith(".json")}, called, variables)
    assert set(found) == set(expected)
    tags = {"openmwaa:environment": environment.name, "team": "data"}
    for address, values in expected.items():
        # The stack's provider adds the tags; a module's caller has another provider.
        for attributes in (values, found[address]):
            attributes.pop("tags_all", None)
        own = values.pop("tags", None) or {}
        if "tags" in found[address]:
            assert found[address].pop("tags") == {**tags, **own}, address
        assert _plain(found[address]) == _plain(values), address


def _plain(value: Any) -> Any:
    """The value with parsed JSON texts, whose keys have no order."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and value[:1] in {"{", "["}:
        return _sorted(json.loads(value))
    return value


def _sorted(value: Any) -> Any:
    """The value with sorted lists of variables."""
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=json.dumps)
    return value


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_committed_modules_own_tests_pass(variables: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "module"
    shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns(".terraform*"))
    main = copy / "main.tf.json"
    main.write_text(json.dumps(mockable(json.loads(main.read_text()))))
    events = terraform_test(copy, variables)
    assert not list(complaints(events))
    (summary,) = (event["test_summary"] for event in events if event["type"] == "test_summary")
    assert (summary["passed"], summary["failed"]) == (3, 0)


def test_a_module_has_neither_provider_nor_state(module: dict[str, str]) -> None:
    main = json.loads(module["main.tf.json"])
    assert not {"provider", "backend"} & set(main)
    assert main["terraform"] == {
        "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.100, < 7"}},
        "required_version": ">= 1.11",
    }


def test_the_caller_passes_the_provider_of_cloudfront() -> None:
    access = {
        "webserver_access_mode": "PUBLIC_AND_PRIVATE",
        "web_access": {"allowed_cidrs": ["203.0.113.0/24"], "allow_http": True},
    }
    main = json.loads(files(Environment.model_validate({"name": "example", **access}))["main.tf.json"])
    assert main["terraform"]["required_providers"]["aws"]["configuration_aliases"] == ["aws.global"]


def test_every_variable_is_used_and_explained(module: dict[str, str]) -> None:
    known = json.loads(module["variables.tf.json"])["variable"]
    used = set(re.findall(r"\bvar\.(\w+)", module["main.tf.json"]))
    assert used == set(known)
    assert all(variable["description"] and "default" in variable for variable in known.values())
    for name in (*known, *json.loads(module["outputs.tf.json"])["output"]):
        assert f"| `{name}` |" in module["README.md"]


def test_a_value_that_every_fleet_sets_is_not_a_variable() -> None:
    fleets = {"default": {"queues": ["default"], "min": 1, "max": 2}}
    made = files(Environment.model_validate({**LEAST, "control_plane": "SEPARATE", "fleets": fleets}))
    known = json.loads(made["variables.tf.json"])["variable"]
    assert not {"min_workers", "max_workers", "max_webservers", "kms_key", "airflow_image"} & set(known)
    assert {"min_webservers", "airflow_tag", "scaler_tag", "environment_class"} <= set(known)


def test_user_texts_do_not_become_expressions() -> None:
    made = files(Environment.model_validate({**LEAST, "dag_s3_path": "${var.name}"}))
    known = json.loads(made["variables.tf.json"])["variable"]
    assert known["dag_s3_path"]["default"] == "${var.name}", "a variable's default is a value to Terraform"
