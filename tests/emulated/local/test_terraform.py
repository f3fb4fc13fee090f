# SPDX-License-Identifier: Apache-2.0
"""The override file and the events of `terraform apply`; Terraform itself is a shell script here."""

import json
import os
from pathlib import Path

import pytest

from openmwaa.errors import TerraformError
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.errors import ProviderError, ResourceExistsError
from openmwaa.local.terraform import provider_mirror
from openmwaa.local.terraform.terraform import LocalTerraform
from openmwaa.local.terraform.terraform_override import override
from openmwaa.terraform import ApplyEvents

ERROR = {
    "type": "diagnostic",
    "diagnostic": {"severity": "error", "summary": "No", "detail": "a\n b", "address": "x.y"},
}


def event(**fields: object) -> str:
    return json.dumps(fields)


def test_the_override_uses_the_local_database_and_ignores_what_the_emulator_does_not_return() -> None:
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
    assert result["terraform"]["backend"]["local"]["path"] == "/state/terraform.tfstate"
    assert result["locals"] == {"metadata_database_host": "127.20.0.3"}, (
        "Terraform refuses a local value that the stack does not have"
    )
    ignored = {"ignore_changes": ["tags", "private_dns_enabled", "security_group_ids"]}
    assert result["resource"]["aws_vpc_endpoint"] == {"sqs": {"lifecycle": ignored}}, (
        "only attributes of the stack are ignored"
    )


def test_an_apply_on_this_machine_does_not_wait_for_steady_state() -> None:
    services = {"airflow_scheduler": {"wait_for_steady_state": True}, "fleets_default_a": {}}
    document = {"resource": {"aws_ecs_service": services}}
    result = override(document, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"))
    assert result["resource"]["aws_ecs_service"] == {"airflow_scheduler": {"wait_for_steady_state": False}}


def test_alarms_and_dashboards_are_not_created() -> None:
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


@pytest.mark.parametrize("leave_out", [True, False])
def test_scaling_targets_are_left_out_and_policies_refer_to_none(leave_out: bool) -> None:
    resources: dict[str, dict[str, object]] = {
        "aws_appautoscaling_target": {"t": {}},
        "aws_appautoscaling_policy": {"p": {"resource_id": "${aws_appautoscaling_target.t.resource_id}"}},
    }
    result = override(
        {"resource": resources}, addresses=AddressBlock(20), state_file=Path("/terraform.tfstate"), leave_out=leave_out
    )
    assert result["resource"]["aws_appautoscaling_target"] == {"t": {"count": 0}}
    policy = result["resource"]["aws_appautoscaling_policy"]["p"]
    assert policy["count"] == 0
    assert "aws_appautoscaling_target" not in str(policy)


def test_apply_events_are_counted_and_errors_are_kept() -> None:
    events = ApplyEvents()
    events.read(event(type="change_summary", changes={"operation": "plan", "add": 3, "change": 1, "remove": 0}))
    events.read(event(type="apply_complete"))
    events.read(json.dumps(ERROR))
    events.read("no event")
    assert (events.total, events.done, events.errors) == (4, 1, ["No (x.y). a b"])
    assert events.other_lines == ["no event"]


def fake(folder: Path, script: str) -> LocalTerraform:
    program = folder / "terraform"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return LocalTerraform(str(program), folder, environment_id="", endpoints=AddressBlock(20).endpoint_variables)


def test_a_transient_error_of_the_emulator_is_retried_once(tmp_path: Path) -> None:
    flake = json.dumps(ERROR | {"diagnostic": {"severity": "error", "summary": "connection reset"}})
    script = f"[ -f again ] || {{ touch again; echo '{flake}'; exit 1; }}\necho '{event(type='apply_complete')}'"
    lines: list[str] = []
    assert fake(tmp_path, script).apply(progress=lines.append) == 1
    assert any("once more" in line for line in lines)


def test_an_error_has_terraforms_message_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TerraformError) as caught:
        fake(tmp_path, f"echo x >> runs; printf '%s\\n' '{json.dumps(ERROR)}'; exit 1").apply(progress=print)
    assert "- No (x.y). a b\n" in str(caught.value)
    assert "openmwaa local up" in str(caught.value)
    assert (tmp_path / "runs").read_text() == "x\n", "only a flake is retried"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("EntityAlreadyExists: Role with name r already exists.", ResourceExistsError),
        ("ResourceAlreadyExistsException: The log group exists", ResourceExistsError),
        ("BucketAlreadyOwnedByYou: ", ResourceExistsError),
        ("InvalidPermission.Duplicate: the rule exists", ResourceExistsError),
        ("ResourceExistsException: the secret exists", ResourceExistsError),
        ("AccessDenied: no", TerraformError),
    ],
)
def test_a_request_that_was_carried_out_twice_is_an_error_of_its_own(
    tmp_path: Path, code: str, expected: type[TerraformError]
) -> None:
    detail = f"operation error X: Create, https response error StatusCode: 409, RequestID: 1, {code}"
    error = ERROR | {"diagnostic": {"severity": "error", "summary": "creating X", "detail": detail}}
    with pytest.raises(TerraformError) as caught:
        fake(tmp_path, f"echo '{json.dumps(error)}'; exit 1").apply(progress=print)
    assert type(caught.value) is expected


def test_a_crash_of_terraform_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(TerraformError, match="panic: boo"):
        fake(tmp_path, "echo 'panic: boo'; exit 11").apply(progress=print)


# Works only with a configuration that names a mirror, as if the registry were out of reach.
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
def test_init_takes_the_provider_from_the_disk_and_searches_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    searches = 0

    def found() -> Path:
        nonlocal searches
        searches += 1
        return mirror

    monkeypatch.setattr(provider_mirror, "find_mirror", found)
    terraform = fake(tmp_path, OFFLINE)
    terraform.init(progress=print)
    terraform.init(progress=print)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen == ["", str(tmp_path / "openmwaa.tfrc"), str(tmp_path / "openmwaa.tfrc")]
    assert searches == 1


@pytest.mark.usefixtures("_bare")
def test_without_a_provider_the_error_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_mirror, "find_mirror", lambda: None)
    with pytest.raises(ProviderError, match="OPENMWAA_PROVIDER_MIRROR") as caught:
        fake(tmp_path, OFFLINE).init(progress=print)
    assert "no registry" in str(caught.value)


@pytest.mark.usefixtures("_bare")
def test_apply_gets_the_local_endpoints_no_proxy_and_no_variable_of_the_users_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("TF_CLI_ARGS_apply", "-destroy")
    fake(tmp_path, "env > seen").apply(progress=print)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines() if "=" in line)
    assert not {"HTTPS_PROXY", "AWS_PROFILE", "TF_CLI_ARGS_apply", "TF_CLI_CONFIG_FILE"} & set(seen)
    assert seen["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert seen["AWS_ENDPOINT_URL_ECS"] == "http://127.20.0.2:4670"
    assert seen["AWS_ENDPOINT_URL"] == "http://127.20.0.1:4566"
    assert [name for name in seen if name.startswith("AWS_ENDPOINT_URL")] == list(AddressBlock(20).endpoint_variables)
