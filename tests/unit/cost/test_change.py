# SPDX-License-Identifier: Apache-2.0
"""The cost of an idle month before and after an apply, as `openmwaa plan` shows it."""

from typing import Any

from openmwaa.cost.change import cost_change
from openmwaa.cost.stack import Resource
from tests.support.cost_stack import document, state_of

NAT: dict[str, dict[str, Any]] = {"aws_nat_gateway": {"nat": {}}}


def test_a_change_is_shown_by_part() -> None:
    change = cost_change(state_of(document(2)), document(1, **NAT), "us-east-1")
    assert change.before is not None
    assert change.after is not None
    assert str(change) == (
        "An idle month costs 150.46 USD now and 147.27 USD after the apply: "
        "Workers 72.08 -> 36.04, NAT gateways 0.00 -> 32.85."
    )
    assert change.after["NAT gateways"] == 32.85


def test_running_workers_change_nothing() -> None:
    few, many = (cost_change(state_of(document(), running=count), document(), "us-east-1") for count in (1, 50))
    assert str(few) == str(many) == "An idle month costs 114.42 USD before and after the apply."


def test_a_first_apply_has_no_cost_before() -> None:
    assert str(cost_change([], document(), "us-east-1")) == "An idle month costs 114.42 USD after the apply."


def test_an_unknown_cost_is_not_zero() -> None:
    strange = Resource("aws_sagemaker_endpoint", "it", {})
    change = cost_change([*state_of(document()), strange], document(), "us-east-1")
    assert change.before is None
    assert str(change) == (
        "An idle month costs unknown USD now and 114.42 USD after the apply "
        "(aws_sagemaker_endpoint.it: there is no price for this type of resource)."
    )


def test_a_region_without_prices_is_named() -> None:
    change = cost_change([], document(), "ap-south-2")
    assert change.after is None
    assert "There are no list prices of ap-south-2" in str(change)
