# SPDX-License-Identifier: Apache-2.0
"""Terraform expressions support arithmetic, but no decisions at synthesis."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cdktf_app.base.expressions import (
    NumberExpression,
    TextExpression,
    ceiling_step,
    hcl,
    max_expr,
    min_expr,
    synth_value,
)
from cdktf_app.base.resource_names import deferred_names, escape_template, host_name, iam_name, truncate_with_hash

APP = Path(__file__).parents[3] / "cdktf_app"


@pytest.fixture(scope="module")
def number() -> NumberExpression:
    return NumberExpression("var.max_workers")


def test_arithmetic_is_terraforms(number: NumberExpression) -> None:
    slots = NumberExpression("local.slots")
    assert hcl(sum([number * slots, number * 5])) == "((var.max_workers * local.slots) + (var.max_workers * 5))"
    assert hcl(min_expr(500, ceiling_step(number, 100))) == "min(500, (ceil(var.max_workers / 100) * 100))"
    assert hcl(max_expr(number, 0.5)) == "max(var.max_workers, 0.5)"
    assert f"{number}" == str(number) == "${tostring(var.max_workers)}", "where Python makes a text, Terraform does"


def test_known_numbers_stay_numbers() -> None:
    assert (min_expr(500, ceiling_step(101, 100)), max_expr(2, 4), hcl(3)) == (200, 4, "3")


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(lambda n: n > 1, id="greater"),
        pytest.param(lambda n: n == 1, id="equal"),
        pytest.param(bool, id="truth"),
        pytest.param(int, id="int"),
        pytest.param(lambda n: max(n, 1), id="max"),
        pytest.param(lambda n: n - 1, id="minus"),
        pytest.param(lambda n: f"{n:>5}", id="format"),
    ],
)
def test_a_decision_at_synthesis_is_an_error(number: NumberExpression, decision: Callable[[float], object]) -> None:
    with pytest.raises(TypeError, match=r"var\.max_workers has no value at synthesis"):
        decision(number)


def test_a_text_expression_is_not_escaped_and_has_a_synth_value() -> None:
    image = TextExpression("var.airflow_image", "example.com/airflow:1")
    assert (escape_template(image), synth_value(image)) == ("${var.airflow_image}", "example.com/airflow:1")
    assert (escape_template("${mine}"), synth_value("mine")) == ("$${mine}", "mine")


def test_terraform_shortens_a_name_once() -> None:
    with deferred_names() as names:
        made = {
            truncate_with_hash("a-${var.name}", limit=9),
            host_name("a-${var.name}", limit=9),
            iam_name("a-${var.name}", limit=9),
        }
        again = truncate_with_hash("a-${var.name}", limit=9)
    assert made == {"${local.a_name_in_9}", "${local.a_name_as_host_in_9}", "${local.a_name_caseless_in_9}"}
    assert again in made
    assert len(names) == 3


def test_a_deferred_name_outside_of_the_context_is_an_error() -> None:
    with pytest.raises(LookupError):
        truncate_with_hash("a-${var.name}", limit=9)


def test_only_base_and_module_use_the_expression_classes() -> None:
    classes = re.compile(r"\b(Number|Text|Map)Expression\b")
    users = {path.parent.name for path in APP.rglob("*.py") if classes.search(path.read_text(encoding="utf-8"))}
    assert users == {"base", "module"}
