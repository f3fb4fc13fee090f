# SPDX-License-Identifier: Apache-2.0
"""The address of the caller behind the environment's own load balancers."""

from ipaddress import IPv6Address, ip_address

from openmwaa_runtime.auth.http_message import HttpRequest


def client_address(request: HttpRequest, hops: int) -> str:
    """Return the address that the outermost of `hops` own proxies saw; the client itself wrote all entries before it.

    Each proxy appends the address of its own client to X-Forwarded-For. With fewer entries, or a malformed one, the
    request did not come through all of them: then it is the peer's address. Empty: not known.
    """
    entries = [entry.strip() for value in request.header_values("x-forwarded-for") for entry in value.split(",")]
    written = _plain(entries[-hops]) if 0 < hops <= len(entries) else ""
    return written or _plain(request.peer)


def _plain(text: str) -> str:
    """Return an address in its usual form; empty if the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
