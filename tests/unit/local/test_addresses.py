# SPDX-License-Identifier: Apache-2.0
"""Which block an environment has, and what is said when somebody sits in it."""

import socket
from pathlib import Path

import pytest

from openmwaa.local.addresses import FIRST_BLOCK, LAST_BLOCK, AddressBlock, check_free, choose_block
from openmwaa.local.errors import AddressInUseError


def test_the_block_of_a_folder_is_remembered(tmp_path: Path) -> None:
    first = choose_block(tmp_path, tmp_path / "block", is_free=lambda _: True)
    again = choose_block(tmp_path / "moved", tmp_path / "block", is_free=lambda _: False)
    assert again == first, "Terraform's state holds the addresses: they must not change"


def test_a_block_in_use_is_passed_over(tmp_path: Path) -> None:
    first = choose_block(tmp_path, tmp_path / "one", is_free=lambda _: True)
    second = choose_block(tmp_path, tmp_path / "two", is_free=lambda one: one != first)
    assert second.block == (first.block - FIRST_BLOCK + 1) % (LAST_BLOCK - FIRST_BLOCK + 1) + FIRST_BLOCK


def test_a_machine_full_of_environments_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AddressInUseError, match="openmwaa local down"):
        choose_block(tmp_path, tmp_path / "block", is_free=lambda _: False)


@pytest.mark.parametrize("text", ["", "x", "5", "999"])
def test_a_spoilt_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / "block").write_text(text)
    chosen = choose_block(tmp_path, tmp_path / "block", is_free=lambda _: True)
    assert FIRST_BLOCK <= chosen.block <= LAST_BLOCK


def test_a_taken_port_is_named_with_its_process() -> None:
    with socket.socket() as server:
        server.bind(("127.15.0.3", 0))
        server.listen()
        taken = AddressBlock(15, database_port=server.getsockname()[1], emulator_port=0, ecs_port=0)
        with pytest.raises(AddressInUseError, match=r"PostgreSQL cannot listen on 127\.15\.0\.3:\d+: process \d+"):
            check_free(taken)
    check_free(taken)


def test_load_balancers_have_addresses_of_their_own() -> None:
    addresses = AddressBlock(20)
    assert (addresses.load_balancer(0), addresses.load_balancer(249)) == ("127.20.0.4", "127.20.0.253")
    with pytest.raises(AddressInUseError):
        addresses.load_balancer(250)
