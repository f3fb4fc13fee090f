# SPDX-License-Identifier: Apache-2.0
"""The cost of an environment by part, beside MWAA's for the same class."""

import contextlib
from dataclasses import replace
from typing import Any, Final

from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from openmwaa.cost.floor import DATABASE_GB, NAT, charges, month_by_part
from openmwaa.cost.price_list import HOURS, PriceList, worker_hour
from openmwaa.cost.stack import Stack
from openmwaa.errors import CostError

NOT_INCLUDED: Final = (
    "data transfer and requests; the volume of logs, images and buckets; I/O and backups of the database; what the "
    "file brings, such as a VPC, a key or a database; free tiers and Savings Plans"
)


def estimate(environment: Environment, stack: Stack, prices: PriceList) -> dict[str, Any]:
    """Return the document of `openmwaa cost --json`: USD; None is unknown for MWAA, and a CostError for openmwaa."""
    found = charges(stack, prices)
    parts = month_by_part(found)
    month, nat = sum(parts.values()), parts.get(NAT, 0)
    asleep = month_by_part(charges(replace(stack, asleep=True), prices)) if stack.awake else None
    month_asleep = asleep and round(sum(asleep.values()), 2)
    mwaa = mwaa_cost(environment, prices, environment.environment_class)
    alone = mwaa["usd_month_without_nat"]
    mwaa["usd_month"] = alone and round(alone + nat, 2)
    insights = "the metrics of Container Insights; " if environment.monitoring.container_insights else ""
    return {
        "environment": environment.name,
        "region": prices.region,
        "prices": prices.origin,
        "hours": HOURS,
        "usd_month": round(month, 2),
        "usd_month_without_nat": round(month - nat, 2),
        "parts": {
            part: {"usd_month": usd, "units": [charge.as_data() for charge in found if charge.part == part]}
            for part, usd in parts.items()
        },
        "usd_month_asleep": month_asleep,
        "usd_month_asleep_without_nat": month_asleep and round(month_asleep - nat, 2),
        "parts_asleep": asleep,
        "worker_hours": _worker_hours(stack, prices),
        "mwaa": mwaa,
        "share_of_mwaa": alone and round(month / (alone + nat), 3),
        "share_of_mwaa_without_nat": alone and round((month - nat) / alone, 3),
        "unconfirmed_prices": [charge.price.name for charge in found if charge.price.confirmed is None],
        "not_included": insights + NOT_INCLUDED,
    }


def mwaa_cost(environment: Environment, prices: PriceList, environment_class: str) -> dict[str, Any]:
    """Return MWAA's price of a class, with the schedulers, web servers and minimum workers of `environment`."""
    included = 1 if environment_class == "mw1.micro" else 2  # of schedulers and web servers; MWAA allows no fewer
    # A COMPACT control plane has no number of web servers.
    servers = environment.min_webservers if environment.control_plane == "SEPARATE" else included
    schedulers, web_servers = max(environment.schedulers, included), max(servers, included)
    workers = max(1, sum(fleet.min for fleet in environment.fleets.values()))
    more = {"scheduler": schedulers - included, "web server": web_servers - included, "worker": workers - 1}
    found = {"class": environment_class, "schedulers": schedulers, "web_servers": web_servers, "workers": workers}
    try:
        units = {"environment": 1, **{noun: count for noun, count in more.items() if count}}
        used = [(prices.price(f"{environment_class} {noun}"), count) for noun, count in units.items()]
        used.append((prices.price("GB MWAA storage"), DATABASE_GB))
    except CostError as error:
        return {**found, "usd_month_without_nat": None, "unknown": str(error), "unconfirmed_prices": []}
    month = round(sum(price.month * count for price, count in used), 2)
    unconfirmed = [price.name for price, _ in used if price.confirmed is None]
    return {**found, "usd_month_without_nat": month, "unknown": None, "unconfirmed_prices": unconfirmed}


def _worker_hours(stack: Stack, prices: PriceList) -> list[dict[str, Any]]:
    """Return the price of a worker of each fleet; MWAA's is None if it is unknown or MWAA has no such size."""
    services = {service.values["name"]: service for service in stack.of("aws_ecs_service")}
    hours = []
    for fleet in stack.fleets:
        units = {name: number for name, number in stack.units(services[fleet["services"][0]]).items() if number}
        usd = worker_hour(prices, units)
        mwaa = _mwaa_worker([*units.values()][:2], prices)
        hours.append({"fleet": fleet["name"], "usd": usd, "usd_mwaa": mwaa, "units": units})
    return hours


def _mwaa_worker(size: list[float], prices: PriceList) -> float | None:
    for name, mwaa in ENVIRONMENT_CLASSES.items():
        if size == [mwaa.worker.cpu / 1024, mwaa.worker.memory / 1024]:
            with contextlib.suppress(CostError):
                return prices.price(f"{name} worker").usd
    return None
