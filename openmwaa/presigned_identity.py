# SPDX-License-Identifier: Apache-2.0
"""A proof of an AWS identity that needs no permission: a presigned `sts:GetCallerIdentity` for one web server."""

import base64
import secrets
from typing import Any, Final

from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.verifier import ENVIRONMENT_HEADER, STS_PROOF_PREFIX

LIFETIME_S: Final = 60


def presigned_identity(credentials: Any, environment: EnvironmentArn, endpoint: str, host: str) -> str:
    """Return the proof; `credentials` are botocore's, `endpoint` is that of STS, `host` names the web server."""
    from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 - boto3 is an extra
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415

    # Without a nonce, two proofs of one second are the same, and the second is refused.
    bound = f"{host}#{secrets.token_hex(16)}"
    url = f"{endpoint}/?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("GET", url, headers={ENVIRONMENT_HEADER: f"{environment}#{bound}"})
    SigV4QueryAuth(credentials, "sts", environment.region, LIFETIME_S).add_auth(request)
    return STS_PROOF_PREFIX + base64.urlsafe_b64encode(f"{request.url}#{bound}".encode()).rstrip(b"=").decode()
