# SPDX-License-Identifier: Apache-2.0
"""Requests as botocore's own signer makes them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.serialize import create_serializer

from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.mwaa_api.app import PATH
from openmwaa_runtime.mwaa_api.service_model import service_model
from tests.support.mwaa_api import MEMBERS, NAME, NOW, REGION, WEB_URL, PlayedEnvironment

ENDPOINT = WEB_URL + PATH


def sign(
    method: str = "POST",
    url: str = f"{ENDPOINT}/restapi/{NAME}",
    body: bytes = b'{"Path": "/dags"}',
    headers: dict[str, str] | None = None,
    *,
    keys: Mapping[str, Any],
    region: str = REGION,
    service: str = "airflow",
    at: float = NOW,
    signer: type[SigV4Auth] = SigV4Auth,
) -> HttpRequest:
    """A request as botocore signs and sends it."""
    request = AWSRequest(method=method, url=url, data=body, headers=headers or {})
    credentials = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    with patch("botocore.auth.get_current_datetime", return_value=datetime.fromtimestamp(at, UTC).replace(tzinfo=None)):
        signer(credentials, service, region).add_auth(request)
    parts = urlsplit(request.prepare().url)
    sent = [(name.lower(), value) for name, value in request.headers.items()]
    return HttpRequest(method, parts.path, parts.query, [("host", parts.netloc), *sent], body, "203.0.113.7")


def request_of(environment: PlayedEnvironment, operation: str) -> HttpRequest:
    """A valid request of an operation, as botocore writes and signs it."""
    model = service_model().operation_model(operation)
    written: Any = create_serializer("rest-json").serialize_to_request(MEMBERS[operation], model)
    query = urlencode(written["query_string"], doseq=True, quote_via=quote)
    url = f"{ENDPOINT}{written['url_path']}{'?' if query else ''}{query}"
    at = environment.now or 0
    return sign(written["method"], url, written["body"] or b"", keys=environment.credentials(), at=at)
