# SPDX-License-Identifier: Apache-2.0
"""`openmwaa cost`: a month's floor and a worker-hour's price, beside MWAA's."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath
from openmwaa.cli.output import AsJson, console, print_line, print_progress, table, write_json
from openmwaa.config.environment_file import load
from openmwaa.cost.estimate import estimate
from openmwaa.cost.price_list import PriceList, list_prices
from openmwaa.cost.stack import from_document
from openmwaa.progress import reported

_NAT = ("", "_without_nat")


def cost(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    region: Annotated[str | None, typer.Option(help="Use the prices of this Region, not of the file's.")] = None,
    live: Annotated[bool, typer.Option("--live-prices", help="Read the prices from AWS's Price List API.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an idle environment costs a month, by part, and a worker an hour, beside MWAA's price.

    Exit codes: 0 success, 1 an error, or a quantity or price is unknown.
    """
    environment = load(path)
    place = region or environment.region
    prices = _live_prices(path, place) if live else list_prices(place)
    with reported("Computing the cost", print_progress):
        # The CDK takes seconds to import, so only the commands that need it import it.
        from cdktf_app.main import document  # noqa: PLC0415

        found = estimate(environment, from_document(document(environment)), prices)
    if as_json:
        write_json(found)
    else:
        _print(found)


def _live_prices(path: Path, region: str) -> PriceList:
    from openmwaa.operate.connection import connect  # noqa: PLC0415 - needs the extra `live`
    from openmwaa.operate.live_prices import API_REGION, live_prices  # noqa: PLC0415

    connection = connect(path, local=False)
    there = connection.environment.model_copy(update={"region": API_REGION})
    return live_prices(replace(connection, environment=there), region)


def _print(found: dict[str, Any]) -> None:
    parts = table("PART", "USD/MONTH", "OF", right=("USD/MONTH",))
    for part, charged in found["parts"].items():
        units = {unit["name"]: unit["quantity"] for unit in charged["units"]}
        parts.add_row(part, f"{charged['usd_month']:.2f}", _units(units))
    workers = table("FLEET", "USD/WORKER-HOUR", "MWAA", "OF", right=("USD/WORKER-HOUR", "MWAA"))
    for hour in found["worker_hours"]:
        mwaa = "-" if hour["usd_mwaa"] is None else f"{hour['usd_mwaa']:.5f}"
        workers.add_row(hour["fleet"], f"{hour['usd']:.5f}", mwaa, _units(hour["units"]))
    mwaa = found["mwaa"]
    print_line(f"{found['environment']} in {found['region']}: {found['usd_month']:.2f} USD a month while it is idle.")
    for rows in (parts, _totals(found, mwaa), workers):
        print_line("")
        console().print(rows)
    print_line(f"\nPrices: {found['prices']}.")
    if mwaa["unknown"]:
        print_line(f"MWAA: {mwaa['unknown']}")
    if unconfirmed := [*found["unconfirmed_prices"], *mwaa["unconfirmed_prices"]]:
        print_line(f"Not confirmed: {', '.join(unconfirmed)}.")
    print_line(f"Not included: {found['not_included']}.")


def _totals(found: dict[str, Any], mwaa: dict[str, Any]) -> Table:
    totals = table("USD/MONTH", "WITH NAT", "WITHOUT NAT", "OF", right=("WITH NAT", "WITHOUT NAT"))
    counts = ", ".join(
        f"{mwaa[noun]} x {noun[:-1].replace('_', ' ')}" for noun in ("schedulers", "web_servers", "workers")
    )
    for title, costs, of in (("openmwaa", found, ""), (f"MWAA {mwaa['class']}", mwaa, counts)):
        totals.add_row(title, *(_number(costs[f"usd_month{nat}"]) for nat in _NAT), of)
    if found["usd_month_asleep"] is not None:
        asleep = (_number(found[f"usd_month_asleep{nat}"]) for nat in _NAT)
        totals.add_row("openmwaa, asleep", *asleep, "a whole month of sleep")
    totals.add_row("openmwaa / MWAA", *(_number(found[f"share_of_mwaa{nat}"]) for nat in _NAT))
    return totals


def _units(quantities: dict[str, float]) -> str:
    return ", ".join(f"{quantity:g} x {name}" for name, quantity in quantities.items())


def _number(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}"
