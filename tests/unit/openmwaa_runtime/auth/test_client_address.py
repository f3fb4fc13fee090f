# SPDX-License-Identifier: Apache-2.0
"""The address is the one that an own proxy wrote; what the client wrote before it never counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.auth.client_address import client_address
from openmwaa_runtime.auth.http_message import HttpRequest

PEER = "10.192.1.7"


def address(hops: int, *forwarded: str, peer: str = PEER) -> str:
    headers = [("host", "airflow"), *(("x-forwarded-for", value) for value in forwarded)]
    return client_address(HttpRequest("GET", "/", "", headers, b"", peer), hops)


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (0, (), PEER),
        (0, ("203.0.113.9",), PEER),
        (1, ("203.0.113.9",), "203.0.113.9"),
        (1, ("6.6.6.6, 203.0.113.9",), "203.0.113.9"),
        (1, ("6.6.6.6", "7.7.7.7,203.0.113.9"), "203.0.113.9"),
        (1, ("203.0.113.9", "6.6.6.6"), "6.6.6.6"),  # the last one in the last header is the load balancer's
        (2, ("6.6.6.6, 203.0.113.9, 10.0.0.5",), "203.0.113.9"),
        (2, ("203.0.113.9", "10.0.0.5"), "203.0.113.9"),
        (2, ("10.0.0.5",), PEER),
        (1, ("",), PEER),
        (1, ("203.0.113.9,",), PEER),
        (1, ("unknown",), PEER),
        (1, ("203.0.113.9:443",), PEER),
        (1, ("2001:DB8::1",), "2001:db8::1"),
        (1, ("::ffff:203.0.113.9",), "203.0.113.9"),
    ],
)
def test_the_address_of_the_own_proxy(hops: int, forwarded: tuple[str, ...], expected: str) -> None:
    assert address(hops, *forwarded) == expected


def test_without_an_address_it_is_not_known() -> None:
    assert address(0, peer="") == address(1, "unknown", peer="unix:") == ""


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=30), max_size=5))
def test_nothing_before_the_own_entry_changes_the_address(forged: list[str]) -> None:
    assert address(1, *forged, "203.0.113.9") == "203.0.113.9"
    assert address(1, ", ".join([*forged, "203.0.113.9"])) == "203.0.113.9"
