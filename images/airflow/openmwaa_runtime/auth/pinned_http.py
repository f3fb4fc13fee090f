# SPDX-License-Identifier: Apache-2.0
"""GET requests to one server that the operator has configured: STS, or the issuer of tokens."""

import time
from collections.abc import Callable, Mapping

import urllib3

from openmwaa_runtime.auth.errors import AuthUnavailableError

DEADLINE_S = 5
MAX_BYTES = 64 * 1024
MAX_CONNECTIONS = 8
"""At a time: a slow STS must not hold all threads of the web server."""
MAX_WAIT_S = 1
"""For one of these connections."""


HttpGet = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
"""Sends a GET request for a path with its query, and headers; returns the status and the body.

Raises AuthUnavailableError without a complete answer.
"""


class PinnedHttp:
    """Sends requests to one origin.

    It follows no redirect, which would lead to another server. urllib3 reads no proxy from the environment: STS and the
    issuer are reached as AWS is, by NAT or by VPC endpoints, and a proxy's variables are a user's, for tasks.
    """

    def __init__(self, origin: str, *, deadline_s: int = DEADLINE_S) -> None:
        from botocore.httpsession import get_cert_path  # noqa: PLC0415 - 30 MiB, used by web servers only

        pools = urllib3.PoolManager(maxsize=MAX_CONNECTIONS, block=True, ca_certs=get_cert_path(True))
        self._pool = pools.connection_from_url(origin)
        self._deadline_s = deadline_s

    def __call__(self, target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a request.

        Raises:
            AuthUnavailableError: no complete answer within the limits.
        """
        ends = time.monotonic() + self._deadline_s
        body = b""
        try:
            # A new connection each: a server may close an idle one at any time, and nothing is sent twice.
            response = self._pool.urlopen(
                "GET",
                target,
                headers={**headers, "Connection": "close"},
                retries=False,
                redirect=False,
                timeout=self._deadline_s,
                pool_timeout=MAX_WAIT_S,
                preload_content=False,
                decode_content=False,
            )
            try:
                while chunk := response.read1(MAX_BYTES):
                    body += chunk
                    if len(body) > MAX_BYTES or time.monotonic() > ends:
                        raise AuthUnavailableError(f"{self._pool.host} answered too much or too slowly; try again")
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise AuthUnavailableError(f"{self._pool.host} does not answer; try again") from error
        return response.status, body
