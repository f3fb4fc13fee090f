# SPDX-License-Identifier: Apache-2.0
"""Load balancers as TCP proxies: each has its own address and the ports of its listeners in Terraform.

Ports of listeners can also be published on all interfaces, as `docker run -p` does.

Not supported: HTTP routing, health checks of targets (a target is healthy if it accepts a connection), TLS.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openmwaa.local.addresses import interface_addresses

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S = 1.0
_CHUNK = 64 * 1024

Target = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True)
class LoadBalancerListener:
    """One listener of one load balancer, with the target groups of its actions and rules."""

    load_balancer: str
    """Its DNS name, which clients use as host name."""
    port: int
    target_groups: tuple[str, ...]


class LoadBalancers:
    """A `TargetRegistry` with a TCP proxy for every listener; runs in one event loop."""

    def __init__(
        self,
        address_of: Callable[[int], str],
        remembered: Path | None = None,
        *,
        published: Mapping[int, int] | None = None,
    ) -> None:
        """`published`: the port of a listener and its port on every interface."""
        self._address_of = address_of
        self._remembered = remembered
        self._published = published or {}
        self._numbers: dict[str, int] = _read_numbers(remembered)
        self._targets: dict[str, list[Target]] = {}
        self._turn: dict[str, int] = {}
        self._listeners: dict[Target, LoadBalancerListener] = {}
        self._servers: dict[Target, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Add a target; its task runs."""
        targets = self._targets.setdefault(target_group_arn, [])
        if (address, port) not in targets:
            targets.append((address, port))

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Remove a target; its open connections continue."""
        with contextlib.suppress(ValueError):
            self._targets.get(target_group_arn, []).remove((address, port))

    def address(self, load_balancer: str) -> str:
        """The local address of a load balancer, by its DNS name; it never changes."""
        if load_balancer not in self._numbers:
            used = set(self._numbers.values())
            self._numbers[load_balancer] = next(number for number in range(len(used) + 1) if number not in used)
            if self._remembered:
                self._remembered.write_text(json.dumps(self._numbers))
        return self._address_of(self._numbers[load_balancer])

    def url(self, port: int) -> str | None:
        """The URL of the first listener with this port, the published one if there is one; None without a listener."""
        addresses = [address for address, listened in self._listeners if listened == port]
        if (public := self._published.get(port)) and addresses:
            return f"http://localhost:{public}"
        return f"http://{addresses[0]}:{port}" if addresses else None

    async def serve(self, listeners: tuple[LoadBalancerListener, ...]) -> None:
        """Serve exactly these listeners; a port in use is logged, and the next call retries it."""
        wanted = {(self.address(listener.load_balancer), listener.port): listener for listener in listeners}
        for listener in listeners:
            if public := self._published.get(listener.port):
                for address in interface_addresses():
                    wanted.setdefault((address, public), listener)
        for key in set(self._servers) - set(wanted):
            self._servers.pop(key).close()
        self._listeners = wanted
        for key in wanted:
            if key not in self._servers:
                await self._listen(key)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self, key: Target) -> None:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._forward(key, reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        try:
            self._servers[key] = await asyncio.start_server(accepted, *key)
        except OSError as error:
            logger.warning("a load balancer cannot listen on %s:%s: %s", *key, error)

    async def _forward(self, key: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            listener = self._listeners.get(key)
            target = await self._connect(listener.target_groups) if listener else None
            if target is None:
                return
            target_reader, target_writer = target
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, target_writer))
                    group.create_task(_copy(target_reader, writer))
            finally:
                target_writer.close()
        except* OSError:
            pass  # one of the two closed the connection
        finally:
            writer.close()

    async def _connect(
        self, target_groups: tuple[str, ...]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next target that accepts one; None if there is none."""
        for group in target_groups:
            targets = tuple(self._targets.get(group, ()))
            turn = self._turn.get(group, 0)
            self._turn[group] = turn + 1
            for offset in range(len(targets)):
                address, port = targets[(turn + offset) % len(targets)]
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(CONNECT_WITHIN_S):
                        return await asyncio.open_connection(address, port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):  # the connection is closed already
        if writer.can_write_eof():
            writer.write_eof()


def _read_numbers(remembered: Path | None) -> dict[str, int]:
    if remembered is None:
        return {}
    try:
        numbers: Mapping[str, int] = json.loads(remembered.read_text())
        return {str(name): int(number) for name, number in numbers.items()}
    except (OSError, ValueError, AttributeError):
        return {}
