# SPDX-License-Identifier: Apache-2.0
"""The calls in a log of Terraform, and that the log does not stay."""

import json
from pathlib import Path

import pytest

from tools.verify.aws_calls import read_calls, recorded

ID = "http.request.header.amz_sdk_invocation_id"
LOG = "\n".join(
    [
        json.dumps({"@message": "HTTP Request Sent", "rpc.service": "S3", "rpc.method": "HeadBucket", ID: "a"}),
        json.dumps({"@message": "HTTP Response Received", "rpc.service": "S3", "rpc.method": "HeadBucket"}),
        json.dumps({"@message": "HTTP Request Sent", "rpc.service": "SSM", "rpc.method": "PutParameter", ID: "b"}),
        "2026-01-01T00:00:00Z [WARN] not JSON: HTTP Request Sent",
    ]
)


def test_every_request_is_a_call(tmp_path: Path) -> None:
    log = tmp_path / "terraform.log"
    log.write_text(LOG)
    assert read_calls(log) == {"a": "S3:HeadBucket", "b": "SSM:PutParameter"}


def test_a_step_without_a_request_has_no_calls() -> None:
    calls: dict[str, str] = {}
    with recorded({"HOME": "/root"}, calls) as variables:
        assert variables["HOME"] == "/root"
    assert calls == {}


def test_the_log_is_private_and_deleted_also_after_a_failure() -> None:
    calls: dict[str, str] = {}

    def fail() -> None:
        with recorded({}, calls) as variables:
            log = Path(variables["TF_LOG_PATH"])
            logs.append(log)
            assert log.parent.stat().st_mode & 0o077 == 0
            log.write_text(LOG)
            raise RuntimeError("terraform failed")

    logs: list[Path] = []
    with pytest.raises(RuntimeError, match="terraform failed"):
        fail()
    assert not logs[0].parent.exists()
    assert "S3:HeadBucket" in calls.values()
