# SPDX-License-Identifier: Apache-2.0
"""Prices of AWS's Price List API, by the names of prices.json. Not run against AWS yet."""

import json
import re
from functools import cache
from typing import Any, Final

from openmwaa.cost.price_list import Price, PriceList, listed, table
from openmwaa.errors import CostError
from openmwaa.operate.connection import Connection, aws_errors

API_REGION: Final = "us-east-1"
_CLASS: Final = re.compile(r"\b(?:db|cache|mw1)\.[\w.]+")
# The Region in a type of usage: EUC1-, EU- or us-east-1-; some services leave it out in us-east-1.
_REGION: Final = r"(?:[A-Z]+\d?-|[a-z]+(?:-[a-z]+)+-\d-)?"


def live_prices(connection: Connection, region: str) -> PriceList:
    """Return the prices of `region`, each read when it is needed; `connection` is to `API_REGION`."""
    client = connection.client("pricing")

    @cache
    def find(name: str) -> Price | None:
        if (query := _query(name)) is None:  # the price is the same in every Region, or is not in the API
            return listed(name, region)
        service, usage, fields = query
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
        filters.append({"Type": "TERM_MATCH", "Field": "regionCode", "Value": region})
        with aws_errors(connection, "pricing:GetProducts", "the price list"):
            pages = client.get_paginator("get_products").paginate(ServiceCode=service, Filters=filters)
            products = [json.loads(product) for page in pages for product in page["PriceList"]]
        pattern = re.compile(_REGION + re.escape(usage) + (r"\S+" if usage.endswith(":") else ""))
        matching = (p for p in products if pattern.fullmatch(p["product"]["attributes"].get("usagetype", "")))
        found = {price for product in matching if (price := _usd(product)) is not None}
        if len(found) > 1:
            raise CostError(f"The Price List API has {len(found)} prices of {name} in {region}: {sorted(found)}.")
        per = table()["prices"].get(name, {"per": "hour"})["per"]
        return Price(name, found.pop(), per, "now: the Price List API") if found else None

    return PriceList(region, "AWS's Price List API", find)


def _query(name: str) -> tuple[str, str, dict[str, str]] | None:
    """Return service, type of usage and attributes of a price; a class is a placeholder in prices.json."""
    kind = _CLASS.search(name)
    queries = table()["live"]
    query = queries.get(name) or (queries.get(name.replace(kind[0], "{}")) if kind else None)
    if query is None:
        return None
    service, usage, fields = query
    if kind is None:
        return service, usage, fields
    size = kind[0].rpartition(".")[2].capitalize()
    return service, usage.format(size=size), {field: value.format(kind[0]) for field, value in fields.items()}


def _usd(product: Any) -> float | None:
    """Return the first price above zero, by its range; None without a price on demand."""
    offers = product.get("terms", {}).get("OnDemand", {}).values()
    prices = [dimension for offer in offers for dimension in offer["priceDimensions"].values()]
    prices.sort(key=lambda dimension: float(dimension.get("beginRange") or 0))
    return next((usd for price in prices if (usd := float(price["pricePerUnit"].get("USD", 0))) > 0), None)
