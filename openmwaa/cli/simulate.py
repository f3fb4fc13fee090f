# SPDX-License-Identifier: Apache-2.0
"""`openmwaa simulate`: how long tasks wait, and what the workers cost, under each scaling policy."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmwaa.cli.environment import EnvironmentOption
from openmwaa.cli.output import console, print_line, print_progress, table
from openmwaa.errors import OpenmwaaError
from openmwaa.progress import reported

if TYPE_CHECKING:
    from simulation.comparison import SimulationCase
    from simulation.engine.result import SimulationResult

_LEGEND = (
    "WAIT: mean. HOURS: of workers. KILLED: tasks. UNDER: share of the time in which a task waited for a slot, and the "
    "mean slots that were missing.\nOVER: share of the time in which a whole worker was idle, and the mean idle slots."
)
_Policies = Annotated[
    list[str] | None, typer.Option("--policy", help="A policy; several are possible. Default: all.", metavar="NAME")
]
_Workloads = Annotated[
    list[str] | None,
    typer.Argument(
        help="A file of the JSON form, the scaler's log, the name of a shipped workload, or an instance of WfCommons; "
        "several instances make one workload.",
        metavar="WORKLOAD…",
    ),
]
ResultFile = Annotated[
    Path | None, typer.Option("--json", help="Write all results to this file, unrounded.", metavar="FILE")
]
PictureFile = Annotated[
    Path | None, typer.Option("--plot", help="Write a picture of wait against cost, as SVG.", metavar="FILE")
]
Seed = Annotated[int, typer.Option(help="All chance comes from it.")]
ColdStart = Annotated[float, typer.Option(min=0.1, help="Median seconds from the request of a worker to its tasks.")]


def simulate(
    workloads: _Workloads = None,
    *,
    _environment: EnvironmentOption = None,
    policies: _Policies = None,
    slots: Annotated[int, typer.Option(min=1, help="Slots of a worker.")] = 5,
    minimum: Annotated[int, typer.Option("--min", min=0, help="The fewest workers.")] = 1,
    maximum: Annotated[int, typer.Option("--max", min=1, help="The most workers.")] = 25,
    cold_start: ColdStart = 60.0,
    seed: Seed = 1,
    sigma: Annotated[
        float, typer.Option(min=0.0, max=3.0, help="Log-normal noise on the duration of every task, beside its own.")
    ] = 0.0,
    result: ResultFile = None,
    plot: PictureFile = None,
    show_names: Annotated[bool, typer.Option("--list", help="List the shipped workloads and the policies.")] = False,
) -> None:
    """Simulate days of Airflow under scaling policies: wait and cost of each, in a table per workload.

    Exit codes: 0 success, 1 a workload or a file is wrong, 2 an option is wrong.
    """
    # other commands start faster
    from simulation.comparison import ALL_POLICIES, SimulationCase, simulate_cases  # noqa: PLC0415
    from simulation.engine.fleet import EngineFleetSettings  # noqa: PLC0415
    from simulation.workloads.shipped import run_with_sigma  # noqa: PLC0415
    from simulation.workloads.source import load_workloads  # noqa: PLC0415

    if show_names:
        _print_names()
        return
    if not workloads:
        raise typer.BadParameter("name a workload, or list them with --list", param_hint="WORKLOAD")
    if minimum > maximum:
        raise typer.BadParameter(f"{minimum} is more than --max {maximum}", param_hint="--min")
    names = known_policies(policies) or list(ALL_POLICIES)
    check_folders(result, plot)
    with reported("Reading the workloads", print_progress):
        found = load_workloads(workloads, seed)
        found = [run_with_sigma(workload, sigma, seed) for workload in found] if sigma else found
    fleet = EngineFleetSettings(slots=slots, minimum=minimum, maximum=maximum, cold_start_s=cold_start)
    cases = [SimulationCase(workload, name, fleet, seed) for workload in found for name in names]
    with counted(len(cases)) as ended:
        results = simulate_cases(cases, ended)
    rows = [(cases[at : at + len(names)], results[at : at + len(names)]) for at in range(0, len(cases), len(names))]
    _print_all(rows)
    if result is not None:
        settings = {**asdict(fleet), "seed": seed, "sigma": sigma}
        write(result, as_json({"settings": settings, "workloads": [_data(*of_workload) for of_workload in rows]}))
    if plot is not None:
        write(plot, _picture(rows))


def known_policies(names: Sequence[str] | None) -> list[str]:
    """Return the names once each, or raise BadParameter with those that exist."""
    from simulation.comparison import ALL_POLICIES  # noqa: PLC0415

    for name in names or ():
        if name not in ALL_POLICIES:
            raise typer.BadParameter(f"no policy {name!r}; there are {', '.join(ALL_POLICIES)}", param_hint="--policy")
    return list(dict.fromkeys(names or ()))


def check_folders(*files: Path | None) -> None:
    """Raise before the work if the folder of a file is missing."""
    for file in files:
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise OpenmwaaError(f"{file} cannot be written: it is a folder, or its folder does not exist")


def write(file: Path, text: str) -> None:
    """Write a file, or raise OpenmwaaError."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OpenmwaaError(f"{file} cannot be written: {error.strerror}") from None


def as_json(document: Any) -> str:
    """Return JSON for a file."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"


@contextmanager
def counted(cases: int) -> Iterator[Callable[[int], None]]:
    """Report on standard error how many cases ended; yield what receives that number."""
    ended = 0

    def count(number: int) -> None:
        nonlocal ended
        ended = number

    with reported(lambda: f"Simulating: {ended} of {cases} ended", print_progress):
        yield count


def _print_names() -> None:
    from simulation.comparison import ALL_POLICIES  # noqa: PLC0415
    from simulation.workloads.shipped import SHIPPED  # noqa: PLC0415

    workloads, policies = table("WORKLOAD", "WHAT IT HAS"), table("POLICY", "SOURCE")
    for name, shipped in SHIPPED.items():
        workloads.add_row(name, shipped.description)
    for name, policy in ALL_POLICIES.items():
        policies.add_row(name, policy().source)
    console().print(workloads)
    print_line("")
    console().print(policies)


def _print_all(rows: "Sequence[tuple[Sequence[SimulationCase], Sequence[SimulationResult]]]") -> None:
    for of_workload in rows:
        _print(*of_workload)
    print_line(_LEGEND)


def _print(cases: "Sequence[SimulationCase]", results: "Sequence[SimulationResult]") -> None:
    numbers = ("WAIT", "P95", "HOURS", "KILLED", "UNDER", "OVER")
    rows = table("POLICY", *numbers, right=numbers)
    for case, simulated in zip(cases, results, strict=True):
        (fleet,) = simulated.fleets
        rows.add_row(
            case.policy,
            f"{fleet.mean_wait_s:.1f} s",
            f"{fleet.p95_wait_s:.1f} s",
            f"{fleet.worker_hours:.1f}",
            str(fleet.killed),
            f"{fleet.under_time:.1%}, {fleet.under_slots:.1f}",
            f"{fleet.over_time:.1%}, {fleet.over_slots:.1f}",
        )
    workload = cases[0].workload
    hours = (workload.horizon_s - workload.measure_from_s) / 3600
    description = f" ({workload.description})" if workload.description else ""
    print_line(f"{workload.name}{description}: {results[0].fleets[0].tasks} tasks in {hours:g} h")
    console().print(rows)
    print_line("")


def _data(cases: "Sequence[SimulationCase]", results: "Sequence[SimulationResult]") -> dict[str, Any]:
    workload = cases[0].workload
    return {
        "name": workload.name,
        "description": workload.description,
        "start": workload.start.isoformat(),
        "measure_from_s": workload.measure_from_s,
        "horizon_s": workload.horizon_s,
        "policies": [
            {"policy": case.policy, "unfinished_runs": simulated.unfinished_runs, **asdict(simulated.fleets[0])}
            for case, simulated in zip(cases, results, strict=True)
        ],
    }


def _picture(rows: "Sequence[tuple[Sequence[SimulationCase], Sequence[SimulationResult]]]") -> str:
    from simulation.comparison import OURS  # noqa: PLC0415
    from simulation.picture import Panel, Point, draw  # noqa: PLC0415

    def points(cases: "Sequence[SimulationCase]", results: "Sequence[SimulationResult]") -> Iterator[Point]:
        for case, simulated in zip(cases, results, strict=True):
            fleet = simulated.fleets[0]
            yield Point(case.policy, fleet.worker_hours, fleet.mean_wait_s, case.policy in OURS)

    return draw([Panel(cases[0].workload.name, list(points(cases, results))) for cases, results in rows])
