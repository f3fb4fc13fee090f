# SPDX-License-Identifier: Apache-2.0
"""A program for moto's Python: requests on standard input, one JSON a line, become parameters by moto's parsers.

Nothing of this project is imported, because moto has a virtual environment of its own.
"""

import base64
import json
import re
import sys
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from moto.core.parse import PROTOCOL_PARSERS  # type: ignore[import-not-found]
from moto.core.request import determine_request_protocol  # type: ignore[import-not-found]
from moto.core.utils import get_service_model  # type: ignore[import-not-found]
from werkzeug.datastructures import Headers, MultiDict  # type: ignore[import-not-found]


def parameters(request: dict[str, Any]) -> Any:
    """Return the parameters of one request."""
    service = get_service_model(request["service"])
    operation = service.operation_model(request["operation"])
    body, headers, url = base64.b64decode(request["body"]), Headers(request["headers"]), urlsplit(request["url"])
    protocol = determine_request_protocol(service, headers.get("Content-Type"))
    pairs = parse_qsl(url.query, keep_blank_values=True)
    if protocol in ("query", "ec2"):
        pairs += parse_qsl(body.decode(), keep_blank_values=True)
    template = re.escape(operation.http_trait.path.rstrip("/"))  # SDKs leave out the slash of Route 53's
    template = re.sub(
        r"\\\{(\w+)(\\\+)?\\\}", lambda found: rf"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})", template
    )
    found = re.fullmatch(template + "/?", url.path)
    return PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request["method"],
            "values": MultiDict(pairs),
            "headers": headers,
            "body": body,
            "url_path": url.path,
            "url_params": {name: unquote(value) for name, value in found.groupdict().items()} if found else {},
        }
    )


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(parameters(json.loads(line)), default=str) + "\n")
