# SPDX-License-Identifier: Apache-2.0
"""Prices of one Region by name: those of prices.json, or others by the same names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from openmwaa.errors import CostError

HOURS: Final = 730
"""Hours of a month, as in AWS's examples."""
_SPOT: Final = " on Spot"


@dataclass(frozen=True)
class Price:
    """USD for a unit, such as an hour; `confirmed` is when and where it was read, None if it is not confirmed."""

    name: str
    usd: float
    per: str
    confirmed: str | None = None

    @property
    def month(self) -> float:
        """USD for a unit during a month."""
        return self.usd * HOURS if self.per.endswith("hour") else self.usd


@dataclass(frozen=True)
class PriceList:
    """The prices of a Region; `find` returns the price of a name, or None."""

    region: str
    origin: str
    find: Callable[[str], Price | None]

    def price(self, name: str) -> Price:
        """Return a price, or raise CostError; a name that ends with ` on Spot` is a share of another price."""
        if name.endswith(_SPOT):
            on_demand, share = self.price(name.removesuffix(_SPOT)), self.price("share of Fargate Spot")
            return Price(name, on_demand.usd * share.usd, on_demand.per, share.confirmed)
        if (found := self.find(name)) is None:
            raise CostError(f"There is no price of {name} in {self.region}, in {self.origin}; try --live-prices.")
        return found


@cache
def table() -> Mapping[str, Any]:
    """Return the content of prices.json: `prices`, `zero` for types without a charge, `live` for the API's names."""
    found: Mapping[str, Any] = json.loads(resources.files("openmwaa.cost").joinpath("prices.json").read_text("utf-8"))
    return found


def listed(name: str, region: str) -> Price | None:
    """Return a price of prices.json: that of the Region, or one that is the same in every Region."""
    row = table()["prices"].get(name, {"usd": {}})
    found = row["usd"].get(region) or row["usd"].get("*")
    return Price(name, found[0], row["per"], found[1]) if found else None


def list_prices(region: str) -> PriceList:
    """Return the list prices of a Region, or raise CostError if there are none."""
    known = sorted({place for row in table()["prices"].values() for place in row["usd"]} - {"*"})
    if region not in known:
        instead = "use --live-prices, or compare with `--region us-east-1`"
        raise CostError(f"There are no list prices of {region}, only of {' and '.join(known)}: {instead}.")
    return PriceList(region, f"the list prices of {table()['date']}", lambda name: listed(name, region))


def worker_hour(prices: PriceList, task: Mapping[str, float]) -> float:
    """Return USD for an hour of a task with these quantities by the name of their price, or raise CostError."""
    return round(sum(prices.price(name).usd * quantity for name, quantity in task.items() if quantity), 6)


def task_units(cpu: float, memory: float, platform: str, *, spot: bool, public_ip: bool) -> dict[str, float]:
    """Return the quantities of a task on Fargate by the name of their price; `cpu` and `memory` are ECS's."""
    platform += _SPOT if spot else ""
    return {
        f"vCPU {platform}": cpu / 1024,
        f"GB memory {platform}": memory / 1024,
        "public IPv4 address": float(public_ip),
    }


@cache
def zero_types() -> frozenset[str]:
    """Return the types of resources without a charge of their own; prices.json has the source of each."""
    return frozenset(kind for row in table()["zero"] for kind in row["types"])
