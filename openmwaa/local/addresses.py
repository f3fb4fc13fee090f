# SPDX-License-Identifier: Apache-2.0
"""The addresses of an environment: its own block 127.B.0.0/16 of the loopback network.

Two environments can run at the same time with the same ports, and each task has its own address, as on AWS. Linux
accepts all of 127.0.0.0/8 without configuration; other systems do not.
"""

import contextlib
import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from openmwaa.config.ports import SCALER_PORT, WEB_PORT
from openmwaa.local.errors import AddressInUseError

FIRST_BLOCK, LAST_BLOCK = 16, 239


@dataclass(frozen=True)
class AddressBlock:
    """The addresses and ports in block B."""

    block: int

    emulator_port: int = 4566
    ecs_port: int = 4670
    database_port: int = 5432

    @property
    def emulator(self) -> str:
        """The emulated AWS APIs."""
        return f"127.{self.block}.0.1"

    @property
    def ecs(self) -> str:
        """The local ECS: its API, and the agent and metadata endpoints of tasks."""
        return f"127.{self.block}.0.2"

    @property
    def database(self) -> str:
        """PostgreSQL."""
        return f"127.{self.block}.0.3"

    @property
    def emulator_url(self) -> str:
        """The endpoint of all APIs except ECS."""
        return f"http://{self.emulator}:{self.emulator_port}"

    @property
    def ecs_url(self) -> str:
        """The endpoint of ECS."""
        return f"http://{self.ecs}:{self.ecs_port}"

    @property
    def endpoint_variables(self) -> dict[str, str]:
        """The environment variables that send the AWS SDKs, Terraform and the CLI to these endpoints."""
        return {"AWS_ENDPOINT_URL": self.emulator_url, "AWS_ENDPOINT_URL_ECS": self.ecs_url}

    def load_balancer(self, index: int) -> str:
        """The address of the load balancer number `index`, from 0; 250 fit."""
        if not 0 <= index < 250:  # noqa: PLR2004
            raise AddressInUseError("An environment on this machine has addresses for 250 load balancers.")
        return f"127.{self.block}.0.{4 + index}"


def choose_block(state_root: Path, remembered: Path, *, is_free: Callable[[AddressBlock], bool]) -> AddressBlock:
    """The block of an environment: the remembered one, else the next free one after a hash of its folder.

    A remembered block stays even if it is in use, because Terraform's state and queue URLs contain its addresses.

    Raises:
        AddressInUseError: no block is free.
    """
    with contextlib.suppress(OSError, ValueError):
        block = int(remembered.read_text())
        if FIRST_BLOCK <= block <= LAST_BLOCK:
            return AddressBlock(block)
    count = LAST_BLOCK - FIRST_BLOCK + 1
    start = int.from_bytes(hashlib.sha256(str(state_root).encode()).digest()[:4], "big")
    for offset in range(count):
        addresses = AddressBlock(FIRST_BLOCK + (start + offset) % count)
        if is_free(addresses):
            remembered.parent.mkdir(parents=True, exist_ok=True)
            remembered.write_text(f"{addresses.block}\n")
            return addresses
    raise AddressInUseError(
        f"No address block from 127.{FIRST_BLOCK}.0.0 to 127.{LAST_BLOCK}.0.0 is free. Stop other environments with "
        "`openmwaa local down`."
    )


def listeners_in_use(addresses: AddressBlock) -> tuple[tuple[str, int, str], ...]:
    """Address, port and name of each listener of the infrastructure whose address and port are in use."""
    listeners = (
        (addresses.emulator, addresses.emulator_port, "The emulated AWS APIs"),
        (addresses.ecs, addresses.ecs_port, "The local ECS"),
        (addresses.database, addresses.database_port, "PostgreSQL"),
    )
    return tuple(listener for listener in listeners if not _can_listen(*listener[:2]))


def published_ports(publish: int) -> dict[int, int]:
    """The ports that `up --publish` opens on every interface, by the port of the load balancer; 0: none."""
    return {WEB_PORT: publish, SCALER_PORT: publish + 1} if publish else {}


def interface_addresses() -> tuple[str, ...]:
    """This machine's addresses. A listener on 0.0.0.0 would have the ports of all tasks, which are in 127.0.0.0/8."""
    found = (address for addresses in psutil.net_if_addrs().values() for address in addresses)
    return tuple(address.address for address in found if address.family == socket.AF_INET)


def check_free(addresses: AddressBlock, publish: int = 0) -> None:
    """Check that the infrastructure can listen, and that the published ports are free.

    Raises:
        AddressInUseError: names the process that listens, and the remedy.
    """
    ports = published_ports(publish).values()
    published = [(address, port, "`--publish`") for port in ports for address in interface_addresses()]
    for address, port, name in (*listeners_in_use(addresses), *published):
        if _can_listen(address, port):
            continue
        remedy = "End it, or choose another port" if port in ports else "End it, then run the command again"
        process = _listening_process(address, port)
        raise AddressInUseError(f"{name} cannot listen on {address}:{port}: {process} listens there. {remedy}.")


def _can_listen(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _listening_process(address: str, port: int) -> str:
    """The process that listens, if this user may see it."""
    try:
        for connection in psutil.net_connections(kind="tcp4"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.laddr.ip in {address, "0.0.0.0"}  # noqa: S104 - a comparison
                and connection.pid
            ):
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        pass
    return "another process"
