# SPDX-License-Identifier: Apache-2.0
"""Names are within the limits of each service and stay unique."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cdktf_app.base.resource_names import escape_template, host_name, truncate_with_hash
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

NAMES = st.from_regex(r"[a-zA-Z][0-9a-zA-Z_-]{0,79}", fullmatch=True)


@given(NAMES)
def test_load_balancers_accept_host_names(name: str) -> None:
    fit = host_name(f"openmwaa-{name}", limit=32)
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fit), fit
    assert len(fit) <= 32


@given(NAMES, NAMES)
def test_different_names_stay_different(name: str, other: str) -> None:
    assume(name != other)
    assert host_name(name, limit=32) != host_name(other, limit=32)
    assert truncate_with_hash(name, limit=20) != truncate_with_hash(other, limit=20)


def test_a_name_within_the_limit_is_unchanged() -> None:
    assert (
        truncate_with_hash("openmwaa-quickstart", limit=32)
        == host_name("openmwaa-quickstart", limit=32)
        == "openmwaa-quickstart"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ("${var.x}", "$${var.x}"), ("%{ if }", "%%{ if }"), ("100 % $", "100 % $")],
    ids=["plain", "interpolation", "directive", "signs-alone"],
)
def test_terraform_templates_are_escaped(text: str, expected: str) -> None:
    assert escape_template(text) == expected


def test_the_longest_name_fits_every_service() -> None:
    name = "Z" + "a_B-" * 19 + "end"
    assert len(name) == 80
    stack = stack_of(name=name, region="ap-southeast-2")
    limits = {
        "aws_lb": (32, r"[a-zA-Z0-9-]+"),
        "aws_lb_target_group": (32, r"[a-zA-Z0-9-]+"),
        "aws_iam_role": (64, r"[\w+=,.@-]+"),
        "aws_sqs_queue": (80, r"[a-zA-Z0-9_-]+"),
        "aws_db_subnet_group": (255, r"[a-z0-9._-]+"),
        "aws_security_group": (255, r"[\w .:/()#,@\[\]+=&;{}!$*-]+"),
        "aws_secretsmanager_secret": (512, r"[\w/+=.@-]+"),
        "aws_cloudwatch_log_group": (512, r"[\w./#-]+"),
        "aws_ecs_cluster": (255, r"[a-zA-Z0-9_-]+"),
        "aws_sns_topic": (256, r"[a-zA-Z0-9_-]+"),
        "aws_kms_alias": (256, r"alias/[a-zA-Z0-9/_-]+"),
        "aws_ecr_repository": (256, r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"),
    }
    for kind, (limit, pattern) in limits.items():
        for address, resource in stack.resources(kind).items():
            # Terraform makes a prefix unique by 26 digits.
            called = resource.get("name") or resource["name_prefix"] + "0" * 26
            assert len(called) <= limit, f"{kind}.{address}: {called} is too long"
            assert re.fullmatch(pattern, called), f"{kind}.{address}: {called}"
    identifiers = [
        stack.only("aws_rds_cluster")["cluster_identifier"],
        stack.only("aws_rds_cluster_instance")["identifier"],
    ]
    assert all(
        re.fullmatch(r"[a-z](-?[a-z0-9])*", identifier) and len(identifier) <= 63 for identifier in identifiers
    ), identifiers
    bucket = stack.only("aws_s3_bucket")["bucket"].replace(
        "${data.aws_caller_identity.place_caller.account_id}", "1" * 12
    )
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]", bucket), bucket
    families = [task["family"] for task in stack.resources("aws_ecs_task_definition").values()]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", family) for family in families)


def test_two_environments_share_no_name() -> None:
    first, other = (_names(stack_of(name=name)) for name in ("Team_a", "team-a"))
    assert not first & other, f"both are called {sorted(first & other)}"


def _names(stack: Stack) -> set[str]:
    keys = ("name", "bucket", "family", "cluster_identifier", "identifier", "alarm_name", "dashboard_name")
    found = set()
    for kind, resources in stack.document["resource"].items():
        if kind in {"aws_ecs_service", "aws_iam_role_policy"}:
            continue  # named within the cluster, within the role
        for resource in resources.values():
            # A parameter group's `family` is PostgreSQL's.
            named = [
                key for key in keys if key in resource and (kind, key) != ("aws_rds_cluster_parameter_group", "family")
            ]
            found |= {f"{kind} {resource[key]}".lower() for key in named}
    return {name for name in found if "${" not in name or "openmwaa" in name}
