# SPDX-License-Identifier: Apache-2.0
"""TCP proxies on real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from openmwaa.local.services.load_balancer import LoadBalancerListener, LoadBalancers

NAME = "lb.us-east-1.elb.amazonaws.com"


class Echo:
    """A server that answers with its name and the request."""

    def __init__(self, name: str, address: str, port: int = 0) -> None:
        self.name, self.address, self.port = name, address, port
        self._server: asyncio.Server | None = None

    async def start(self) -> "Echo":
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            data = await reader.read()
            writer.write(f"{self.name}:".encode() + data)
            await writer.drain()
        writer.close()

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            self._server = None


@pytest.fixture
async def port() -> int:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.15.0.4", 0)
    number: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return number


@pytest.fixture
async def balancers(tmp_path: Path) -> AsyncIterator[LoadBalancers]:
    balancers = LoadBalancers(lambda number: f"127.15.0.{4 + number}", tmp_path / "numbers.json")
    yield balancers
    await balancers.close()


async def request(address: str, port: int, text: str = "hello") -> str:
    async with asyncio.timeout(120):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(text.encode())
        writer.write_eof()
        try:
            return (await reader.read()).decode()
        except ConnectionResetError:  # closed before the request was read
            return ""
        finally:
            writer.close()


async def test_it_forwards_in_turn_and_skips_dead_targets(balancers: LoadBalancers, port: int) -> None:
    first, two = await Echo("one", "127.15.1.1").start(), await Echo("two", "127.15.1.2").start()
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    for echo in (first, two):
        balancers.register("group", echo.address, echo.port)
    assert [await request("127.15.0.4", port) for _ in range(4)] == ["one:hello", "two:hello", "one:hello", "two:hello"]
    await first.stop()
    assert {await request("127.15.0.4", port) for _ in range(3)} == {"two:hello"}
    balancers.deregister("group", two.address, two.port)
    assert await request("127.15.0.4", port) == "", "a deregistered target got a connection"
    await two.stop()


async def test_a_listener_without_targets_closes(balancers: LoadBalancers, port: int) -> None:
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    assert await request("127.15.0.4", port) == ""


async def test_much_data_both_ways(balancers: LoadBalancers, port: int) -> None:
    echo = await Echo("one", "127.15.1.1").start()
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    balancers.register("group", echo.address, echo.port)
    text = "x" * 1_000_000
    assert await request("127.15.0.4", port, text) == f"one:{text}"
    await echo.stop()


async def test_a_removed_listener_is_closed(balancers: LoadBalancers, port: int) -> None:
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    await balancers.serve(())
    with pytest.raises(ConnectionRefusedError):
        await request("127.15.0.4", port)


async def test_a_listener_is_found_by_its_port_whichever_load_balancer_has_it(
    balancers: LoadBalancers, port: int
) -> None:
    await balancers.serve(
        (LoadBalancerListener("public.elb", port + 1, ()), LoadBalancerListener("internal.elb", port, ("group",)))
    )
    assert balancers.url(port) == f"http://127.15.0.5:{port}", "the second load balancer"
    assert balancers.url(1) is None


async def test_a_published_port_is_open_on_every_interface_and_leaves_the_ports_of_tasks_free(port: int) -> None:
    balancers = LoadBalancers(lambda number: f"127.15.0.{4 + number}", published={port: port})
    task = await Echo("task", "127.15.1.1", port).start()
    balancers.register("group", task.address, task.port)
    assert balancers.url(port) is None, "before the listener exists"
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    interfaces = {a.address for own in psutil.net_if_addrs().values() for a in own if a.family == socket.AF_INET}
    assert {await request(address, port) for address in ("localhost", "127.15.0.4", *interfaces)} == {"task:hello"}
    assert balancers.url(port) == f"http://localhost:{port}"
    await balancers.serve(())
    with pytest.raises(ConnectionRefusedError):
        await request("127.0.0.1", port)
    await task.stop()
    await balancers.close()


async def test_a_port_in_use_is_retried(balancers: LoadBalancers, port: int) -> None:
    other = await asyncio.start_server(lambda _r, w: w.close(), "127.15.0.4", port)
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    other.close()
    await other.wait_closed()
    await balancers.serve((LoadBalancerListener(NAME, port, ("group",)),))
    assert await request("127.15.0.4", port) == ""


def test_addresses_are_kept(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    first = LoadBalancers(lambda number: f"a{number}", numbers)
    assert [first.address(name) for name in ("x", "y", "x")] == ["a0", "a1", "a0"]
    assert LoadBalancers(lambda number: f"a{number}", numbers).address("y") == "a1"
    numbers.write_text("spoilt")
    assert LoadBalancers(lambda number: f"a{number}", numbers).address("y") == "a0"
