# SPDX-License-Identifier: Apache-2.0
"""Simulates many cases, each a workload under a policy with settings, in one process per core."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from scaler.core.model import LookAheadPolicy
from simulation.engine.day import Engine, EngineSettings
from simulation.engine.fleet import EngineFleetSettings
from simulation.engine.policy import ScalingRule
from simulation.engine.result import SimulationResult
from simulation.policies.openmwaa import Openmwaa
from simulation.policies.registry import POLICIES
from simulation.workloads.model import Workload

REACTIVE: Final = "openmwaa"
LOOK_AHEAD: Final = "openmwaa-look-ahead"
HEADROOM: Final = "openmwaa-headroom"
OURS: Final = (REACTIVE, LOOK_AHEAD, HEADROOM)
ALL_POLICIES: Final[Mapping[str, Callable[[], ScalingRule]]] = MappingProxyType(
    {
        **POLICIES,
        REACTIVE: Openmwaa,
        LOOK_AHEAD: lambda: Openmwaa(LookAheadPolicy()),
        HEADROOM: lambda: Openmwaa(LookAheadPolicy(headroom=True)),
    }
)


@dataclass(frozen=True, slots=True)
class SimulationCase:
    """A workload under a policy; one fleet serves all queues."""

    workload: Workload
    policy: str
    """A name in ALL_POLICIES."""
    fleet: EngineFleetSettings
    seed: int = 1


def simulate_case(case: SimulationCase) -> SimulationResult:
    """Return the result of one case."""
    policy = ALL_POLICIES[case.policy]()
    return Engine(case.workload, policy, (case.fleet,), EngineSettings(seed=case.seed)).run()


def simulate_cases(
    cases: Sequence[SimulationCase], ended: Callable[[int], None] = lambda _: None, processes: int | None = None
) -> list[SimulationResult]:
    """Return the results in the order of the cases; `ended` receives the number of cases that ended so far."""
    processes = min(processes or os.cpu_count() or 1, len(cases))
    if processes <= 1:
        return [_counted(simulate_case(case), number, ended) for number, case in enumerate(cases, 1)]
    with _process_pool(processes) as pool:
        futures = [pool.submit(simulate_case, case) for case in cases]
        for number, future in enumerate(as_completed(futures), 1):
            future.result()
            ended(number)
        return [future.result() for future in futures]


def _counted(result: SimulationResult, number: int, ended: Callable[[int], None]) -> SimulationResult:
    ended(number)
    return result


@contextmanager
def _process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield new processes that leave Ctrl-C to this one, and end them if the body fails."""
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    with pool:
        try:
            yield pool
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
