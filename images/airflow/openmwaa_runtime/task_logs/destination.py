# SPDX-License-Identifier: Apache-2.0
"""Opens the destination of task logs from its URL, which is Airflow's `logging.remote_base_log_folder`."""

from typing import Any
from urllib.parse import urlsplit

from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.task_logs.cloudwatch import CloudWatchDestination
from openmwaa_runtime.task_logs.s3 import S3Destination


def open_destination(url: str, *, attempts: int = 1) -> CloudWatchDestination | S3Destination:
    """Return the destination; a failed request is repeated up to `attempts` times in all.

    Raises:
        UsageError: the URL is neither `cloudwatch://ARN` nor `s3://BUCKET/PREFIX`.
    """
    parts = urlsplit(url)
    arn = url.removeprefix("cloudwatch://").split(":")
    if parts.scheme == "cloudwatch" and len(arn) > 6:  # noqa: PLR2004 - arn:aws:logs:REGION:ACCOUNT:log-group:NAME
        return CloudWatchDestination(arn[6], lambda: _client("logs", arn[3], attempts))
    if parts.scheme == "s3" and parts.netloc:
        return S3Destination(parts.netloc, parts.path, lambda: _client("s3", None, attempts))
    raise UsageError(f"the destination of task logs must be cloudwatch://ARN or s3://BUCKET/PREFIX, not {url!r}")


def _client(service: str, region: str | None, attempts: int) -> Any:
    # The task role, and not an Airflow connection (a request for each task) or keys that a user sets as variables.
    from botocore.config import Config  # noqa: PLC0415 - a worker's main process needs no client
    from botocore.credentials import ContainerProvider  # noqa: PLC0415
    from botocore.session import get_session  # noqa: PLC0415

    session = get_session()
    session.get_component("credential_provider").insert_before("env", ContainerProvider())
    config = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": attempts, "mode": "standard"})
    return session.create_client(service, region_name=region, config=config)
