# SPDX-License-Identifier: Apache-2.0
"""The address block of an environment, and the error if one of its ports is in use."""

import random
import re
import socket
from pathlib import Path

import pytest

from openmwaa.local.addresses import (
    FIRST_BLOCK,
    LAST_BLOCK,
    AddressBlock,
    check_free,
    choose_block,
    interface_addresses,
)
from openmwaa.local.errors import AddressInUseError


def test_the_block_of_a_folder_is_remembered(tmp_path: Path) -> None:
    first = choose_block(tmp_path, tmp_path / "block", is_free=lambda _: True)
    again = choose_block(tmp_path / "moved", tmp_path / "block", is_free=lambda _: False)
    assert again == first, "Terraform's state contains the addresses, so they must not change"


def test_a_block_in_use_is_passed_over(tmp_path: Path) -> None:
    first = choose_block(tmp_path, tmp_path / "one", is_free=lambda _: True)
    second = choose_block(tmp_path, tmp_path / "two", is_free=lambda block: block != first)
    assert second.block == (first.block - FIRST_BLOCK + 1) % (LAST_BLOCK - FIRST_BLOCK + 1) + FIRST_BLOCK


def test_without_a_free_block_the_error_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(AddressInUseError, match="openmwaa local down"):
        choose_block(tmp_path, tmp_path / "block", is_free=lambda _: False)


@pytest.mark.parametrize("text", ["", "x", "5", "999"])
def test_an_invalid_block_file_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "block").write_text(text)
    chosen = choose_block(tmp_path, tmp_path / "block", is_free=lambda _: True)
    assert FIRST_BLOCK <= chosen.block <= LAST_BLOCK


def test_a_port_in_use_is_named_with_its_process() -> None:
    with socket.socket() as server:
        server.bind(("127.15.0.3", 0))
        server.listen()
        addresses = AddressBlock(15, database_port=server.getsockname()[1], emulator_port=0, ecs_port=0)
        with pytest.raises(AddressInUseError, match=r"PostgreSQL cannot listen on 127\.15\.0\.3:\d+: process \d+"):
            check_free(addresses)
    check_free(addresses)


@pytest.mark.parametrize("address", interface_addresses())
def test_a_published_port_in_use_is_named_with_its_process(address: str) -> None:
    free = AddressBlock(15, database_port=0, emulator_port=0, ecs_port=0)
    with socket.socket() as server:
        port = bind_below_the_ephemeral_ports(server, address)
        server.listen()
        for publish in (port, port - 1):
            expected = rf"`--publish` cannot listen on {re.escape(address)}:{port}: process \d+.*another port"
            with pytest.raises(AddressInUseError, match=expected):
                check_free(free, publish)
    check_free(free, port)


def bind_below_the_ephemeral_ports(server: socket.socket, address: str) -> int:
    """Bind to a port whose neighbours no other test gets from the kernel, and return it."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 50):
        try:
            server.bind((address, port))
        except OSError:
            continue
        return port
    raise AssertionError("50 ports are in use")


def test_each_load_balancer_has_its_own_address() -> None:
    addresses = AddressBlock(20)
    assert (addresses.load_balancer(0), addresses.load_balancer(249)) == ("127.20.0.4", "127.20.0.253")
    with pytest.raises(AddressInUseError):
        addresses.load_balancer(250)
