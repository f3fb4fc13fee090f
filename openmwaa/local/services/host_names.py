# SPDX-License-Identifier: Apache-2.0
"""Maps the host names of the emulator to the servers of this machine.

Terraform puts these names into task definitions, but no server has them. Load balancers and their listeners come from
describe calls. Databases are recognised by the form of their names: ministack names a new cluster
`NAME.cluster-….REGION.rds.amazonaws.com`, and Terraform keeps this name. Once the cluster has an instance, ministack
returns its own address instead (where PostgreSQL listens, too).
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from openmwaa.local.services import aws
from openmwaa.local.services.load_balancer import LoadBalancerListener, LoadBalancers

logger = logging.getLogger(__name__)

REFRESH_WITHIN_S = 15.0
RETRY_S = 0.3
_DATABASE = r"[A-Za-z0-9.-]+\.rds\.amazonaws\.com"


class HostNameMap:
    """The known host names of the emulator."""

    def __init__(
        self, endpoint_url: str, *, database: str, load_balancers: LoadBalancers, region: str = aws.REGION
    ) -> None:
        self._endpoint_url = endpoint_url
        self._database = database
        self._load_balancers = load_balancers
        self._region = region
        self._names: dict[str, str] = {}
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> Callable[[str], str]:
        """Read the names from the emulator, and return a function that replaces them in a text.

        If the emulator does not answer, the function uses the names of the last refresh.
        """
        try:
            async with asyncio.timeout(REFRESH_WITHIN_S), self._refreshing:
                while not await self._refresh_once():  # noqa: ASYNC110 - another process has no events
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            logger.warning("no host names from the emulator within %g s; the known ones are used", REFRESH_WITHIN_S)
        return replacer(self._names, database=self._database)

    async def _refresh_once(self) -> bool:
        try:
            listeners = await self._listeners()
        except aws.ERRORS as error:
            logger.info("host names: the emulator does not answer: %s", error)
            return False
        names = [listener.load_balancer for listener in listeners]
        self._names = {name: self._load_balancers.address(name) for name in names}
        await self._load_balancers.serve(listeners)
        return True

    async def _listeners(self) -> tuple[LoadBalancerListener, ...]:
        found = []
        async with aws.client("elbv2", self._endpoint_url, region=self._region) as elb:
            for balancer in (await elb.describe_load_balancers())["LoadBalancers"]:
                answer = await elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
                for listener in answer["Listeners"]:
                    rules = (await elb.describe_rules(ListenerArn=listener["ListenerArn"]))["Rules"]
                    actions = [
                        *listener.get("DefaultActions", ()),
                        *(action for rule in rules for action in rule["Actions"]),
                    ]
                    found.append(LoadBalancerListener(balancer["DNSName"], listener["Port"], _target_groups(actions)))
        return tuple(found)


def _target_groups(actions: list[dict[str, Any]]) -> tuple[str, ...]:
    """The target groups of forward actions, without duplicates, in their order."""
    arns: dict[str, None] = {}
    for action in actions:
        if arn := action.get("TargetGroupArn"):
            arns[arn] = None
        for group in (action.get("ForwardConfig") or {}).get("TargetGroups") or ():
            arns[group["TargetGroupArn"]] = None
    return tuple(arns)


def replacer(names: Mapping[str, str], *, database: str) -> Callable[[str], str]:
    """A function that replaces each whole name in a text, but no part of a longer name."""
    longest_first = sorted(names, key=len, reverse=True)
    alternatives = "|".join([*map(re.escape, longest_first), _DATABASE])
    pattern = re.compile(rf"(?<![A-Za-z0-9.-])(?:{alternatives})(?![A-Za-z0-9-]|\.[A-Za-z0-9])")
    return lambda text: pattern.sub(lambda match: names.get(match.group(), database), text)
