# SPDX-License-Identifier: Apache-2.0
"""The override, and how Terraform's events are read; Terraform itself is a shell script here."""

import json
import os
from pathlib import Path

import pytest

from openmwaa.local.addresses import AddressBlock
from openmwaa.local.errors import ProviderError, TerraformError
from openmwaa.local.terraform import provider_mirror
from openmwaa.local.terraform.terraform import ApplyEvents, Terraform
from openmwaa.local.terraform.terraform_override import override

ERROR = {
    "type": "diagnostic",
    "diagnostic": {"severity": "error", "summary": "No", "detail": "a\n b", "address": "x.y"},
}


def event(**fields: object) -> str:
    return json.dumps(fields)


def test_the_override_turns_every_endpoint_to_this_machine_and_ecs_to_ours() -> None:
    document = {
        "locals": {"metadata_database_host": "x", "other": "y"},
        "resource": {
            "aws_vpc_endpoint": {
                "s3": {"vpc_endpoint_type": "Gateway"},
                "sqs": {
                    "private_dns_enabled": True,
                    "security_group_ids": ["sg-1"],
                    "lifecycle": {"ignore_changes": ["tags"]},
                },
            }
        },
    }
    result = override(document, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"))
    (provider,) = result["provider"]["aws"]
    (endpoints,) = provider["endpoints"]
    assert {endpoints.pop(word) for word in ("ecs", "applicationautoscaling")} == {"http://127.20.0.2:4670"}
    assert set(endpoints.values()) == {"http://127.20.0.1:4566"}
    assert {"s3", "sqs", "rds", "iam", "sts", "kms", "ec2", "elbv2", "logs", "secretsmanager"} <= set(endpoints)
    assert result["terraform"]["backend"]["local"]["path"] == "/state/terraform.tfstate"
    assert result["locals"] == {"metadata_database_host": "127.20.0.3"}, "a local value that is not there is an error"
    ignored = {"ignore_changes": ["tags", "private_dns_enabled", "security_group_ids"]}
    assert result["resource"]["aws_vpc_endpoint"] == {"sqs": {"lifecycle": ignored}}, "only what is said is lost"


def test_an_apply_on_this_machine_leaves_the_waiting_to_up() -> None:
    services = {"airflow_scheduler": {"wait_for_steady_state": True}, "fleets_default_a": {}}
    document = {"resource": {"aws_ecs_service": services}}
    result = override(document, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"))
    assert result["resource"]["aws_ecs_service"] == {"airflow_scheduler": {"wait_for_steady_state": False}}


def test_alarms_and_dashboards_are_left_out_where_nothing_is_measured() -> None:
    resources: dict[str, dict[str, object]] = {
        "aws_cloudwatch_metric_alarm": {"a": {}, "b": {}},
        "aws_cloudwatch_dashboard": {"d": {}},
    }
    document = {"resource": {**resources, "aws_sns_topic": {"t": {}}}}
    result = override(document, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"))
    none = {"count": 0}
    assert result["resource"] == {
        "aws_cloudwatch_metric_alarm": {"a": none, "b": none},
        "aws_cloudwatch_dashboard": {"d": none},
    }


def test_progress_counts_and_keeps_errors() -> None:
    progress = ApplyEvents()
    progress.read(event(type="change_summary", changes={"operation": "plan", "add": 3, "change": 1, "remove": 0}))
    progress.read(event(type="apply_complete"))
    progress.read(json.dumps(ERROR))
    progress.read("no event")
    assert (progress.total, progress.done, progress.errors) == (4, 1, ["No (x.y). a b"])
    assert progress.unread == ["no event"]


def fake(folder: Path, script: str) -> Terraform:
    program = folder / "terraform"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Terraform(str(program), folder, environment_id="", endpoint_url="http://127.20.0.1:4566")


def test_a_stumble_of_the_emulator_is_tried_once_more(tmp_path: Path) -> None:
    stumble = json.dumps(ERROR | {"diagnostic": {"severity": "error", "summary": "ResourceAlreadyExistsException"}})
    script = f"[ -f again ] || {{ touch again; echo '{stumble}'; exit 1; }}\necho '{event(type='apply_complete')}'"
    said: list[str] = []
    assert fake(tmp_path, script).apply(say=said.append) == 1
    assert any("once more" in line for line in said)


def test_an_error_is_told_in_terraforms_words_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TerraformError) as caught:
        fake(tmp_path, f"echo x >> runs; printf '%s\\n' '{json.dumps(ERROR)}'; exit 1").apply(say=print)
    assert "- No (x.y). a b\n" in str(caught.value)
    assert "openmwaa local up" in str(caught.value)
    assert (tmp_path / "runs").read_text() == "x\n", "an error that is no stumble is not tried again"


def test_a_terraform_that_dies_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(TerraformError, match="panic: boo"):
        fake(tmp_path, "echo 'panic: boo'; exit 11").apply(say=print)


# Works only with a configuration that names a mirror, as where the registry is out of reach.
OFFLINE = """
echo "$TF_CLI_CONFIG_FILE" >> seen
grep -q filesystem_mirror "$TF_CLI_CONFIG_FILE" || { echo no registry; exit 1; }
"""


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(provider_mirror.VARIABLE, raising=False)
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "missing.tfrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")


@pytest.mark.usefixtures("_bare")
def test_init_takes_the_provider_from_the_disk_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    searches = 0

    def found(**_: object) -> Path:
        nonlocal searches
        searches += 1
        return mirror

    monkeypatch.setattr(provider_mirror, "find_on_disk", found)
    terraform = fake(tmp_path, OFFLINE)
    terraform.init(say=print)
    terraform.init(say=print)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen == ["", str(tmp_path / "openmwaa.tfrc"), str(tmp_path / "openmwaa.tfrc")]
    assert searches == 1


@pytest.mark.usefixtures("_bare")
def test_a_provider_found_nowhere_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_mirror, "find_on_disk", lambda **_: None)
    with pytest.raises(ProviderError, match="OPENMWAA_PROVIDER_MIRROR") as caught:
        fake(tmp_path, OFFLINE).init(say=print)
    assert "no registry" in str(caught.value)


@pytest.mark.usefixtures("_bare")
def test_apply_sees_no_proxy_and_nothing_of_the_users_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-destroy")
    fake(tmp_path, "env > seen").apply(say=print)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines() if "=" in line)
    assert not {"HTTPS_PROXY", "AWS_PROFILE", "TF_CLI_ARGS_apply", "TF_CLI_CONFIG_FILE"} & set(seen)
    assert seen["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
