# SPDX-License-Identifier: Apache-2.0
"""prices.json: every price has a source, every type of resource a price or a sourced zero."""

import re
from datetime import date
from pathlib import Path

import pytest

from openmwaa.cost.floor import RULES
from openmwaa.cost.price_list import Price, list_prices, table, zero_types
from openmwaa.errors import CostError

ROOT = Path(__file__).parents[3]
PRICES = table()["prices"]
PAGE = re.compile(r"https://(?:(?:docs\.)?aws\.amazon|developer\.hashicorp)\.com/\S+")
CONFIRMED = re.compile(r"(\d{4}-\d{2}-\d{2}): \S.*")


@pytest.mark.parametrize("name", PRICES)
def test_a_price_has_a_page_a_unit_and_the_date_of_its_confirmation(name: str) -> None:
    row = PRICES[name]
    assert PAGE.fullmatch(row["source"])
    assert row["per"].endswith(("hour", "month", "price"))
    for region, (usd, confirmed) in row["usd"].items():
        assert usd > 0, region
        if confirmed is not None:
            found = CONFIRMED.fullmatch(confirmed)
            assert found, confirmed
            assert date.fromisoformat(found[1]) <= date.fromisoformat(table()["date"])


@pytest.mark.parametrize("row", table()["zero"], ids=lambda row: row["types"][0])
def test_a_zero_has_a_page_and_a_reason(row: dict[str, str]) -> None:
    assert PAGE.fullmatch(row["source"])
    assert row["why"]


def test_no_type_has_a_price_and_a_zero() -> None:
    types = [kind for row in table()["zero"] for kind in row["types"]]
    assert len(types) == len(set(types))
    assert not set(types) & set(RULES)


def test_every_type_that_the_constructs_use_has_a_price_or_a_zero() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "cdktf_app").rglob("*.py"))
    used = {f"aws_{name}" for name in re.findall(r"cdktn_provider_aws\.(\w+)", sources)}
    created = {name for name in used if not name.startswith(("aws_data_", "aws_ephemeral_")) and name != "aws_provider"}
    assert len(created) > 60
    assert created - set(RULES) - zero_types() == set()


def test_a_live_query_is_for_a_price_or_a_class() -> None:
    assert {name for name in table()["live"] if "{}" not in name} <= set(PRICES)


def test_an_hour_is_charged_730_times_a_month() -> None:
    assert Price("it", 0.045, "hour").month == pytest.approx(32.85)
    assert Price("it", 0.40, "month").month == 0.40
    assert Price("it", 0.10, "GB-month").month == 0.10


def test_another_region_is_refused() -> None:
    with pytest.raises(CostError, match="no list prices of us-gov-west-1, only of eu-central-1 and us-east-1"):
        list_prices("us-gov-west-1")


def test_a_price_that_is_missing_in_a_region_is_an_error_and_not_that_of_another_region() -> None:
    assert list_prices("us-east-1").price("db.t4g.small Single-AZ").usd == 0.032
    with pytest.raises(CostError, match=r"no price of db\.t4g\.small Single-AZ in eu-central-1.*--live-prices"):
        list_prices("eu-central-1").price("db.t4g.small Single-AZ")
