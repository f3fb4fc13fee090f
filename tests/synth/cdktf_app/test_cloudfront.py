# SPDX-License-Identifier: Apache-2.0
"""CloudFront does not cache, allows configured ranges only, and corrects cookies and redirects."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Json, Stack
from tests.synth.cdktf_app.conftest import stack_of
from tools.verify.rules import violations

INTERNAL = "internal_load_balancer"
ACCESS = {"allowed_cidrs": ["203.0.113.0/24", "198.51.100.7"], "allow_http": True, "access_logs_days": 7}
FUNCTION = Path(__file__).parents[3] / "cdktf_app/web/viewer_response.js"


@pytest.fixture(scope="module")
def cloudfront() -> Stack:
    return stack_of(webserver_access_mode="PUBLIC_AND_PRIVATE", web_access=ACCESS)


def test_cloudfront_uses_https_and_does_not_cache(cloudfront: Stack) -> None:
    distribution = cloudfront.only("aws_cloudfront_distribution")
    behavior = distribution["default_cache_behavior"]
    assert behavior["viewer_protocol_policy"] == "https-only"
    assert set(behavior["allowed_methods"]) == {"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"}
    # AWS's CachingDisabled, AllViewer and SecurityHeadersPolicy.
    assert behavior["cache_policy_id"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    assert behavior["origin_request_policy_id"] == "216adef6-5c7f-47e4-b989-5492eafa07d3"
    assert behavior["response_headers_policy_id"] == "67f7725c-6f97-4210-82d7-5512b31e9d03"
    assert distribution["is_ipv6_enabled"] is False, "the ranges that may come are IPv4"
    assert not behavior.get("default_ttl")


def test_cloudfront_uses_a_vpc_origin(cloudfront: Stack) -> None:
    (endpoint,) = cloudfront.only("aws_cloudfront_vpc_origin")["vpc_origin_endpoint_config"]
    assert endpoint["arn"] == f"${{aws_lb.{INTERNAL}.arn}}"
    assert (endpoint["http_port"], endpoint["origin_protocol_policy"]) == (8080, "http-only")
    assert endpoint["http_port"] == cloudfront.resources("aws_lb_listener")[f"{INTERNAL}_web"]["port"]
    (origin,) = cloudfront.only("aws_cloudfront_distribution")["origin"]
    assert origin["vpc_origin_config"]["vpc_origin_id"] == "${aws_cloudfront_vpc_origin.cloudfront.id}"
    assert len(cloudfront.resources("aws_lb")[INTERNAL]["security_groups"]) == 2, "CloudFront has a door of its own"


def test_cloudfront_blocks_addresses_outside_the_allowed_ranges(cloudfront: Stack) -> None:
    acl = cloudfront.only("aws_wafv2_web_acl")
    assert (acl["scope"], acl["default_action"]) == ("CLOUDFRONT", {"block": {}})
    letting_in = {rule["name"]: rule["priority"] for rule in acl["rule"] if rule.get("action") == {"allow": {}}}
    assert letting_in == {"allowed": max(rule["priority"] for rule in acl["rule"])}, (
        "later rules would never be evaluated"
    )
    assert cloudfront.only("aws_wafv2_ip_set")["addresses"] == ["203.0.113.0/24", "198.51.100.7/32"]
    assert cloudfront.only("aws_cloudfront_distribution")["web_acl_id"] == "${aws_wafv2_web_acl.cloudfront_acl.arn}"


def test_resources_of_cloudfront_are_in_us_east_1(cloudfront: Stack) -> None:
    (_, alias) = cloudfront.document["provider"]["aws"]
    assert (alias["alias"], alias["region"]) == ("global", "us-east-1")
    assert alias["default_tags"][0]["tags"]["openmwaa:environment"] == "example"
    there = {
        f"{kind}.{name}"
        for kind, named in cloudfront.document["resource"].items()
        for name, resource in named.items()
        if resource.get("provider") == "aws.global"
    }
    assert there == {
        "aws_wafv2_ip_set.cloudfront_acl_allowed",
        "aws_wafv2_web_acl.cloudfront_acl",
        "aws_wafv2_web_acl_logging_configuration.cloudfront_acl_log",
        "aws_cloudwatch_log_group.cloudfront_acl_blocked",
        "aws_cloudwatch_log_delivery.cloudfront",
        "aws_cloudwatch_log_delivery_source.cloudfront_log_source",
        "aws_cloudwatch_log_delivery_destination.cloudfront_log_destination",
    }


def test_names_of_cloudfront_resources_differ_between_regions(cloudfront: Stack) -> None:
    names = {
        cloudfront.only(kind)["name"] for kind in ("aws_cloudfront_function", "aws_cloudwatch_log_delivery_source")
    }
    assert all("us-east-1" in name for name in names), f"{names}: CloudFront is one for all Regions"


def test_cloudfront_accepts_the_longest_name() -> None:
    stack = stack_of(name="e" * 80, webserver_access_mode="PUBLIC_AND_PRIVATE", web_access=ACCESS)
    config = {"Comment": stack.only("aws_cloudfront_distribution")["comment"]}
    function = stack.only("aws_cloudfront_function")
    found = violations(
        [
            ("CloudFront:CreateDistributionWithTags", {"DistributionConfigWithTags": {"DistributionConfig": config}}),
            ("CloudFront:CreateFunction", {"Name": function["name"]}),
        ]
    )
    assert [row for row in found if not row.endswith("is required")] == []


def through_cloudfront(response: dict[str, Any]) -> dict[str, Any]:
    node = shutil.which("node")
    assert node, "the CDK needs Node too"
    event = {"request": {"headers": {"host": {"value": "d111.cloudfront.net"}}}, "response": response}
    program = f"{FUNCTION.read_text()}\nconsole.log(JSON.stringify(handler({json.dumps(event)})));"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True, timeout=280)
    changed: dict[str, Any] = json.loads(done.stdout)
    return changed


def test_cloudfront_adds_secure_to_cookies() -> None:
    response = {
        "headers": {},
        "cookies": {
            "_token": {"value": "a", "attributes": "Path=/; HttpOnly", "multiValue": [{"value": "a"}, {"value": "b"}]},
            "theirs": {"value": "c", "attributes": "secure; Path=/"},
        },
    }
    cookies = through_cloudfront(response)["cookies"]
    assert cookies["_token"]["attributes"] == "Path=/; HttpOnly; Secure"
    assert [cookie["attributes"] for cookie in cookies["_token"]["multiValue"]] == ["Secure", "Secure"]
    assert cookies["theirs"]["attributes"] == "secure; Path=/"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("http://d111.cloudfront.net/dags?x=1", "https://d111.cloudfront.net/dags?x=1"),
        ("http://d111.cloudfront.net", "https://d111.cloudfront.net"),
        ("http://d111.cloudfront.net.example.com/", "http://d111.cloudfront.net.example.com/"),
        ("https://idp.example.com/", "https://idp.example.com/"),
        ("/relative", "/relative"),
        # As Airflow answers who has not logged in.
        (
            "/auth/login?next=http%3A%2F%2Fd111.cloudfront.net%2Fdags",
            "/auth/login?next=https%3A%2F%2Fd111.cloudfront.net%2Fdags",
        ),
        ("/auth/login?next=http%3A%2F%2Fexample.com%2F", "/auth/login?next=http%3A%2F%2Fexample.com%2F"),
    ],
)
def test_cloudfront_changes_redirects_to_https(sent: str, arrives: str) -> None:
    response = {"headers": {"location": {"value": sent}}, "cookies": {}}
    assert through_cloudfront(response)["headers"]["location"]["value"] == arrives


def test_access_logs_have_one_path_whatever_aws_puts_before_it(cloudfront: Stack) -> None:
    """CloudWatch Logs puts a path before that of a bucket without a prefix when it creates a delivery, not later."""
    root = "${aws_s3_bucket.access_logs.arn}/AWSLogs/${data.aws_caller_identity.place_caller.account_id}"
    (destination,) = cloudfront.only("aws_cloudwatch_log_delivery_destination")["delivery_destination_configuration"]
    assert destination["destination_resource_arn"] == f"{root}/CloudFront"
    (delivery,) = cloudfront.only("aws_cloudwatch_log_delivery")["s3_delivery_configuration"]
    assert delivery["suffix_path"].startswith("/{DistributionId}")
    statement = _log_statement(cloudfront)
    assert statement["Resource"] == [f"{root}/*"]


def test_the_policy_of_access_logs_is_in_the_words_of_aws(cloudfront: Stack) -> None:
    """AWS appends its own statement to a policy without it: a difference in every plan."""
    statement = _log_statement(cloudfront)
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == (
        "Allow",
        {"Service": ["delivery.logs.amazonaws.com"]},
        ["s3:PutObject"],
    )
    account = "${data.aws_caller_identity.place_caller.account_id}"
    source = f"arn:${{data.aws_partition.place.partition}}:logs:us-east-1:{account}:delivery-source:*"
    assert statement["Condition"] == {
        "StringEquals": {"s3:x-amz-acl": ["bucket-owner-full-control"], "aws:SourceAccount": [account]},
        "ArnLike": {"aws:SourceArn": [source]},
    }


def _log_statement(stack: Stack) -> Json:
    policy = stack.local(stack.resources("aws_s3_bucket_policy")["access_logs"]["policy"])
    (statement,) = [entry for entry in policy["Statement"] if entry["Sid"] == "AWSLogDeliveryWrite"]
    found: Json = statement
    return found
