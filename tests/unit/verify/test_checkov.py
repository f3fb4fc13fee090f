# SPDX-License-Identifier: Apache-2.0
"""Findings of checkov against the rows that accept them; checkov itself runs in `make verify`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.verify import checkov
from tools.verify.checkov_skips import SKIPS, Skip
from tools.verify.errors import ToolError

STACK = {
    "data": {"aws_partition": {"place": {}}},
    "locals": {"policy": {"Statement": []}},
    "resource": {
        "aws_rds_cluster": {"database": {"port": 5432}},
        "aws_rds_cluster_instance": {"database": {"tags": {"a": "b"}}},
    },
}


def result(*findings: tuple[str, int], parsing_errors: int = 0) -> dict[str, Any]:
    return {
        "summary": {"passed": 7, "parsing_errors": parsing_errors},
        "results": {
            "failed_checks": [
                {
                    "check_id": check,
                    "check_name": "do it",
                    "resource": "resource.database",
                    "file_line_range": [line, 99],
                }
                for check, line in findings
            ]
        },
    }


@pytest.fixture
def address_of(tmp_path: Path) -> dict[int, str]:
    file = tmp_path / "main.tf.json"
    file.write_text(json.dumps(STACK, indent=1))
    return checkov.addresses(file)


def line_of(address_of: dict[int, str], address: str) -> int:
    return min(line for line, at in address_of.items() if at == address)


def test_the_line_identifies_one_of_two_resources_of_one_name(address_of: dict[int, str]) -> None:
    assert {"data.aws_partition.place", "aws_rds_cluster.database", "aws_rds_cluster_instance.database"} <= set(
        address_of.values()
    )


def test_a_row_accepts_a_finding_of_its_own_resource_only(address_of: dict[int, str]) -> None:
    row, other = Skip("CKV_1", "aws_rds_cluster.*", "why"), Skip("CKV_2", "*", "why")
    findings = result(
        ("CKV_1", line_of(address_of, "aws_rds_cluster.database")),
        ("CKV_1", line_of(address_of, "aws_rds_cluster_instance.database")),
    )
    used: set[Skip] = set()
    report = checkov.judge(findings, address_of, [row, other], used)
    assert (report.passed, report.failed, report.skipped) == (7, 1, 1)
    assert report.findings == ["CKV_1 aws_rds_cluster_instance.database: do it"]
    assert used == {row}, "no finding needs the other row"


def test_a_stack_that_checkov_cannot_read_is_an_error(address_of: dict[int, str]) -> None:
    with pytest.raises(ToolError, match="cannot read"):
        checkov.judge(result(parsing_errors=1), address_of, SKIPS, set())


def test_policies_are_inlined_for_checkov() -> None:
    stack = {**STACK, "terraform": {"required_version": ">= 1", "required_providers": {}}}
    stack["resource"] = {"aws_iam_policy": {"some": {"policy": "${jsonencode(local.policy)}"}}}
    readable = checkov.readable(stack)
    assert json.loads(readable["resource"]["aws_iam_policy"]["some"]["policy"]) == {"Statement": []}
    assert readable["terraform"] == {"required_providers": {}}, "its parser fails on anything else"


@pytest.mark.parametrize("skip", SKIPS, ids=lambda skip: f"{skip.check} {skip.resource}")
def test_a_row_has_a_check_an_address_and_a_reason(skip: Skip) -> None:
    assert re.fullmatch(r"CKV2?_AWS_\d+", skip.check)
    assert re.fullmatch(r"(data\.)?aws_\w+\.[\w*]+", skip.resource), "the type is named, so no other type is accepted"
    assert len(skip.reason.split()) >= 8, "the reason is a sentence"


def test_every_row_is_unique() -> None:
    pairs = [(skip.check, skip.resource) for skip in SKIPS]
    assert sorted(pairs) == sorted(set(pairs))
