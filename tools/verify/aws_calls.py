# SPDX-License-Identifier: Apache-2.0
"""The AWS calls of a Terraform step, out of the provider's own log: `SERVICE:Operation`, as the AWS SDK names them."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_LOGGING: Final = {"TF_LOG": "JSON", "TF_LOG_PROVIDER": "DEBUG"}
_REQUEST: Final = "HTTP Request Sent"
_ID: Final = "http.request.header.amz_sdk_invocation_id"


@contextlib.contextmanager
def recorded(variables: Mapping[str, str], calls: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield the variables of a Terraform step that writes a log; add its calls to `calls` by invocation at the end.

    The log has the bodies of requests, so it is in a private folder and is deleted.
    """
    with tempfile.TemporaryDirectory(prefix="openmwaa-calls-") as folder:
        log = Path(folder) / "terraform.log"
        try:
            yield {**variables, **_LOGGING, "TF_LOG_PATH": str(log)}
        finally:
            if log.exists():
                calls.update(read_calls(log))


def read_calls(log: Path) -> dict[str, str]:
    """Return the calls in a log of Terraform by the id of their invocation, which is a header of the request."""
    found: dict[str, str] = {}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if _REQUEST not in line:
                continue
            with contextlib.suppress(ValueError):
                record: dict[str, Any] = json.loads(line)
                if record.get("@message") == _REQUEST:
                    found[record[_ID]] = f"{record['rpc.service']}:{record['rpc.method']}"
    return found
