# SPDX-License-Identifier: Apache-2.0
"""The one place that maps the host names the emulator invents to the servers of this machine.

Terraform puts these names into task definitions; nothing answers under them. Load balancers are learned by describe
calls, which also say where they listen. Databases are known by what their names look like: ministack names a cluster
`NAME.cluster-….REGION.rds.amazonaws.com` when it is made, Terraform keeps that name, and once the cluster has an
instance ministack says its own address instead (where PostgreSQL listens, too).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from openmwaa.local.services import aws
from openmwaa.local.services.load_balancer import Listener, LoadBalancers

logger = logging.getLogger(__name__)

LEARN_WITHIN_S = 15.0
RETRY_S = 0.3
_DATABASE = r"[A-Za-z0-9.-]+\.rds\.amazonaws\.com"


class HostNameMap:
    """What is known of invented host names so far."""

    def __init__(
        self, endpoint_url: str, *, database: str, load_balancers: LoadBalancers, region: str = aws.REGION
    ) -> None:
        self._endpoint_url = endpoint_url
        self._database = database
        self._load_balancers = load_balancers
        self._region = region
        self._names: dict[str, str] = {}
        self._learning = asyncio.Lock()

    @property
    def names(self) -> Mapping[str, str]:
        """Invented name -> local address."""
        return dict(self._names)

    async def learn(self) -> Callable[[str], str]:
        """Ask the emulator anew and return a function that replaces names in a text.

        When the emulator does not answer, what was learned before is used.
        """
        try:
            async with asyncio.timeout(LEARN_WITHIN_S), self._learning:
                while not await self._learn_once():  # noqa: ASYNC110 - another process has no events
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            logger.warning("the emulator names no hosts within %g s; the known ones stay", LEARN_WITHIN_S)
        return replacer(self._names, database=self._database)

    async def _learn_once(self) -> bool:
        try:
            listeners = await self._listeners()
        except (BotoCoreError, ClientError, aiohttp.ClientError, OSError) as error:
            logger.info("host names: the emulator does not answer: %s", error)
            return False
        self._names = {one.load_balancer: self._load_balancers.address(one.load_balancer) for one in listeners}
        await self._load_balancers.serve(listeners)
        return True

    async def _listeners(self) -> tuple[Listener, ...]:
        found = []
        async with aws.client("elbv2", self._endpoint_url, region=self._region) as elb:
            for balancer in (await elb.describe_load_balancers())["LoadBalancers"]:
                answer = await elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
                for listener in answer["Listeners"]:
                    rules = (await elb.describe_rules(ListenerArn=listener["ListenerArn"]))["Rules"]
                    actions = [*listener.get("DefaultActions", ()), *(a for rule in rules for a in rule["Actions"])]
                    found.append(Listener(balancer["DNSName"], listener["Port"], _target_groups(actions)))
        return tuple(found)


def _target_groups(actions: list[dict[str, Any]]) -> tuple[str, ...]:
    """The target groups that actions forward to, each once, in their order."""
    arns: dict[str, None] = {}
    for action in actions:
        if arn := action.get("TargetGroupArn"):
            arns[arn] = None
        for group in (action.get("ForwardConfig") or {}).get("TargetGroups") or ():
            arns[group["TargetGroupArn"]] = None
    return tuple(arns)


def replacer(names: Mapping[str, str], *, database: str) -> Callable[[str], str]:
    """A function that replaces each name in a text, and nothing that only begins or ends with one."""
    longest_first = sorted(names, key=len, reverse=True)
    alternatives = "|".join([*map(re.escape, longest_first), _DATABASE])
    pattern = re.compile(rf"(?<![A-Za-z0-9.-])(?:{alternatives})(?![A-Za-z0-9-]|\.[A-Za-z0-9])")
    return lambda text: pattern.sub(lambda match: names.get(match.group(), database), text)
