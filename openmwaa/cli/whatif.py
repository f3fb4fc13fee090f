# SPDX-License-Identifier: Apache-2.0
"""`openmwaa whatif`: an operator's own history under each policy and setting, in wait and dollars."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmwaa.cli.environment import EnvironmentOption, Local, choose, connect
from openmwaa.cli.output import console, print_line, print_progress, table
from openmwaa.cli.simulate import (
    ColdStart,
    PictureFile,
    ResultFile,
    Seed,
    as_json,
    check_folders,
    counted,
    known_policies,
    write,
)
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from openmwaa.cost.price_list import PriceList, list_prices
from openmwaa.errors import CostError
from openmwaa.progress import reported

if TYPE_CHECKING:
    from openmwaa.operate.history import WorkloadHistory
    from openmwaa.operate.whatif import SettingOutcome, WhatIf

DEFAULT_POLICIES = ("mwaa-2025", "openmwaa", "openmwaa-look-ahead")
DEFAULT_CLASSES = ("mw1.small", "mw1.medium")
_Workers = "Workers; several are possible. Default: as today, and {}."
_Path = Annotated[
    str | None,
    typer.Argument(help="The environment whose history is read: its file, folder or name.", metavar="ENVIRONMENT"),
]
_Mwaa = Annotated[
    str | None, typer.Option("--mwaa", help="Read this environment of MWAA; nothing is changed.", metavar="NAME")
]
_Workload = Annotated[str | None, typer.Option("--workload", help="Read a workload, as `openmwaa simulate` does.")]
_Policies = Annotated[
    list[str] | None, typer.Option("--policy", help="A policy; several are possible.", metavar="NAME")
]
_Classes = Annotated[list[str] | None, typer.Option("--class", help="Size and slots of workers; several are possible.")]


def whatif(
    context: typer.Context,
    path: _Path = None,
    *,
    _environment: EnvironmentOption = None,
    mwaa: _Mwaa = None,
    workload: _Workload = None,
    region: Annotated[str | None, typer.Option(help="The Region of --mwaa.")] = None,
    price_region: Annotated[str | None, typer.Option(help="Use the list prices of this Region.")] = None,
    days: Annotated[float, typer.Option(min=0.01, max=45, help="Days of history.")] = 7.0,
    rows: Annotated[int, typer.Option(min=1, help="The most task instances to read.")] = 100_000,
    policies: _Policies = None,
    classes: _Classes = None,
    minimums: Annotated[list[int] | None, typer.Option("--min", min=0, help=_Workers.format("1"))] = None,
    maximums: Annotated[list[int] | None, typer.Option("--max", min=1, help=_Workers.format("10 and 25"))] = None,
    cold_start: ColdStart = 60.0,
    seed: Seed = 1,
    result: ResultFile = None,
    plot: PictureFile = None,
    local: Local = None,
) -> None:
    """Show what the tasks of the last days would have waited and cost under other policies and settings.

    It recommends a setting. It reads Airflow's REST API and changes nothing.

    Exit codes: 0 success, 1 an error, 2 an option is wrong.
    """
    from openmwaa.operate import history  # noqa: PLC0415 - other commands start faster
    from openmwaa.operate.whatif import WhatIf, settings  # noqa: PLC0415

    names, known = known_policies(policies) or DEFAULT_POLICIES, _known_classes(classes)
    _check(mwaa, workload, result, plot, price_region or region)
    with reported("Reading the history", print_progress):
        if workload is not None:
            found = history.history_of_file(workload, seed)
        elif mwaa is not None:
            found = history.history_of_mwaa(mwaa, region, days, rows)
        else:
            found = history.history_of_environment(connect(choose(context, path), local=local), days, rows)
    prices = _prices(price_region or found.region)
    sizes = dict.fromkeys(known or [found.environment_class, *DEFAULT_CLASSES])
    asked = settings(names, [*sizes], minimums or [found.minimum, 1], maximums or [found.maximum, 10, 25])
    if not asked:
        raise typer.BadParameter("is above every --max", param_hint="--min")
    case = WhatIf(found.workload, prices, found.architecture, found.memory, cold_start, seed)
    with counted(len(asked)) as ended:
        outcomes = case.outcomes(asked, ended)
    _print(case, outcomes)
    _write(case, found, outcomes, result, plot)


def _check(
    mwaa: str | None, workload: str | None, result: Path | None, plot: Path | None, price_region: str | None
) -> None:
    """Raise an error before the history is read."""
    if mwaa is not None and workload is not None:
        raise typer.BadParameter("cannot be combined with --workload", param_hint="--mwaa")
    check_folders(result, plot)
    if price_region is not None:
        _prices(price_region)


def _write(
    case: "WhatIf",
    found: "WorkloadHistory",
    outcomes: "Sequence[SettingOutcome]",
    result: Path | None,
    plot: Path | None,
) -> None:
    if result is not None:
        write(result, as_json(_data(case, found, outcomes)))
    if plot is not None:
        write(plot, _picture(case, outcomes))


def _known_classes(classes: Sequence[str] | None) -> Sequence[str]:
    for name in classes or ():
        if name not in ENVIRONMENT_CLASSES:
            known = ", ".join(ENVIRONMENT_CLASSES)
            raise typer.BadParameter(f"no class {name!r}; there are {known}", param_hint="--class")
    return classes or ()


def _prices(region: str) -> PriceList:
    try:
        return list_prices(region)
    except CostError:
        raise CostError(
            f"There are no list prices of {region}: use others, such as --price-region us-east-1."
        ) from None


def _print(case: "WhatIf", outcomes: "Sequence[SettingOutcome]") -> None:
    from openmwaa.operate.whatif import reason  # noqa: PLC0415

    numbers = ("MIN", "MAX", "WAIT", "P95", "USD/MONTH", "MEMORY")
    rows = table("POLICY", "CLASS", *numbers, right=numbers)
    for each in outcomes:
        setting, measured = each.setting, each.result
        rows.add_row(
            setting.policy,
            setting.environment_class,
            str(setting.minimum),
            str(setting.maximum),
            f"{measured.mean_wait_s:.1f} s",
            f"{measured.p95_wait_s:.1f} s",
            "unknown" if each.usd_month is None else f"{each.usd_month:.2f}",
            "-" if each.memory_share is None else f"{each.memory_share:.0%}",
        )
    workload = case.workload
    hours = (workload.horizon_s - workload.measure_from_s) / 3600
    print_line(f"{workload.name}: {outcomes[0].result.tasks} tasks in {hours:.1f} h; the first rows are best.")
    console().print(rows)
    print_line(f"\nUSD: of all workers, by {case.prices.origin} of {case.prices.region}; `openmwaa cost` has the rest.")
    print_line("\n".join(reason(outcomes)))


def _data(case: "WhatIf", found: "WorkloadHistory", outcomes: "Sequence[SettingOutcome]") -> dict[str, object]:
    from openmwaa.operate.whatif import as_data, recommended  # noqa: PLC0415

    workload, best = case.workload, recommended(outcomes)
    return {
        "workload": workload.name,
        "start": workload.start,
        "measure_from_s": workload.measure_from_s,
        "horizon_s": workload.horizon_s,
        "today": {"class": found.environment_class, "min": found.minimum, "max": found.maximum},
        "prices": {"region": case.prices.region, "origin": case.prices.origin},
        "cold_start_s": case.cold_start_s,
        "seed": case.seed,
        "settings": [as_data(each) for each in outcomes],
        "recommended": best and as_data(best),
    }


def _picture(case: "WhatIf", outcomes: "Sequence[SettingOutcome]") -> str:
    from simulation.comparison import OURS  # noqa: PLC0415
    from simulation.picture import Panel, Point, draw  # noqa: PLC0415

    panels: dict[str, dict[tuple[str, float, float], Point]] = {}
    for each in outcomes:  # of settings that differ only in a maximum that was not reached, the lowest
        setting, wait_s = each.setting, each.result.mean_wait_s
        if each.usd_month is not None:
            name = f"{setting.policy} {setting.minimum}-{setting.maximum}"
            point = Point(name, each.usd_month, wait_s, setting.policy in OURS)
            panel = panels.setdefault(f"{case.workload.name}, {setting.environment_class}", {})
            panel.setdefault((setting.policy, each.usd_month, wait_s), point)
    return draw([Panel(title, [*points.values()]) for title, points in panels.items()], "USD a month for workers")
