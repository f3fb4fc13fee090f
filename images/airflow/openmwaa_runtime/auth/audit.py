# SPDX-License-Identifier: Apache-2.0
"""One line of JSON for each login and each denial, in the log group of the web server."""

import json
from collections.abc import Callable
from typing import Literal

from openmwaa_runtime.auth.principal import Principal

Outcome = Literal["allowed", "denied", "unavailable"]


class AuditLog:
    """Writes lines to `write`; they contain no proof and no token."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def record(
        self, event: str, outcome: Outcome, *, source_ip: str, principal: Principal | None = None, **details: object
    ) -> None:
        """Write a line: `event` is the door or the operation, `principal` is None if it is not proven."""
        caller = {"principal": principal.arn, "proof": principal.proof.value} if principal else {}
        if principal and principal.kind == "role" and principal.session is None:
            caller["session"] = "unknown"  # a JWT of STS has the role only
        line = {"openmwaa_audit": 1, "event": event, "outcome": outcome, "source_ip": source_ip, **caller, **details}
        self._write(json.dumps(line))
