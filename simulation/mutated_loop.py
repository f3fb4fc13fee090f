# SPDX-License-Identifier: Apache-2.0
"""The negative controls of the loop: the real loop without one of its checks before a reduction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.core.model import AgentState, Service
from scaler.core.state import ServiceDecision
from scaler.ports import ClusterPort
from scaler.runtime.fleet_loop import FleetLoop
from scaler.runtime.observe import Ports
from simulation.negative_controls import DisabledSafeguard


class _WithoutReread(FleetLoop):
    async def _recheck(self, name: str, order: ServiceDecision, answers: dict[str, AgentState]) -> str | None:
        present = await self._ports.cluster.service(name)
        return await super()._recheck(name, replace(order, observed=present.desired), answers)


class _WithoutConfirmation(FleetLoop):
    async def _recheck(self, name: str, order: ServiceDecision, answers: dict[str, AgentState]) -> str | None:
        return await super()._recheck(name, replace(order, released=()), answers)


class _Cluster:
    """The port `ClusterPort` as it is."""

    def __init__(self, cluster: ClusterPort) -> None:
        self._cluster = cluster
        self.tasks, self.set_desired, self.stop = cluster.tasks, cluster.set_desired, cluster.stop

    async def service(self, name: str) -> Service:
        return await self._cluster.service(name)

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        return await self._cluster.protected(arns, for_s=for_s)


class _WithoutProtection(_Cluster):
    """No worker is protected."""

    async def protected(self, arns: Sequence[str], *, for_s: float = 0.0) -> frozenset[str]:
        return frozenset()


class _PrimaryOnly(_Cluster):
    """No deployment is beside the primary one."""

    async def service(self, name: str) -> Service:
        found = await super().service(name)
        return replace(found, deployments=found.deployments[:1])


LOOPS: Mapping[DisabledSafeguard, type[FleetLoop]] = {
    DisabledSafeguard.REREAD: _WithoutReread,
    DisabledSafeguard.CONFIRMATION: _WithoutConfirmation,
}


def loop_ports(disabled: DisabledSafeguard, ports: Ports) -> Ports:
    """Return the ports of the loop; those of its observer are not changed."""
    if disabled is DisabledSafeguard.DEPLOYMENT:
        return replace(ports, cluster=_PrimaryOnly(ports.cluster))
    if disabled is DisabledSafeguard.PROTECTED_AGAIN:
        return replace(ports, cluster=_WithoutProtection(ports.cluster))
    return ports
