# SPDX-License-Identifier: Apache-2.0
"""Checks the addresses of brokers and queues when the settings are read. A wrong one would fail in every tick."""

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

TLS_OPTIONS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile")
"""The options of Celery's broker URL that redis-py has too."""
TLS_VALUES = {"ssl_cert_reqs": ("none", "optional", "required"), "ssl_check_hostname": ("false", "true")}
SQS_NAME = re.compile(r"(?=.{1,80}$)[A-Za-z0-9_-]+(\.fifo)?")
DIMENSION_LENGTH = 1024
"""CloudWatch's limit for the value of a dimension."""
REFUSED = {
    "redis+socket": "a socket exists on one host only; let Redis listen at redis://HOST:PORT/NUMBER",
    "sentinel": "the scaler reads one address; use redis:// and a name that leads to the primary",
    "sqs": "SQS is read by the URLs of its queues; set broker.kind to sqs",
}
"""Celery's other brokers."""


def split_password(url: str) -> tuple[str, str | None]:
    """Return Celery's broker URL without its password, and the password."""
    parts = _split(url)
    login, _, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    without = parts._replace(netloc=f"{user}@{host}" if user else host).geturl()
    return without, unquote(parts.password) if parts.password else None


def redis_url(url: str) -> str:
    """Return Celery's broker URL as redis-py reads it. Raises ValueError for a part that the scaler cannot use."""
    parts = _split(url)
    if parts.scheme in REFUSED:
        raise ValueError(f"{parts.scheme}://: {REFUSED[parts.scheme]}")
    if parts.scheme not in ("redis", "rediss") or not _has_host(parts) or not re.fullmatch(r"/*[0-9]*", parts.path):
        raise ValueError("must look like redis://HOST:PORT/NUMBER or rediss://…: one host, not Redis Cluster")
    if parts.password:
        raise ValueError("must not contain a password; set SCALER_BROKER_URL instead")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(TLS_OPTIONS)):
        names = ", ".join(name if name.isidentifier() else "…" for name in unknown)  # else a part of a password
        raise ValueError(
            f"must not have the option {names}, but only {', '.join(TLS_OPTIONS)}; "
            "transport options that the scaler needs are fields beside `url`"
        )
    if options and parts.scheme == "redis":
        raise ValueError(f"{', '.join(sorted(options))}: options for rediss:// only; redis:// is not encrypted")
    for name, allowed in TLS_VALUES.items():
        if name in options:
            options[name] = options[name].removeprefix("CERT_").lower()  # Celery has CERT_NONE for redis-py's none
            if options[name] not in allowed:
                raise ValueError(f"{name} must be {' or '.join(allowed)}")
    return parts._replace(query=urlencode(options)).geturl() if options else url


def queue_problem(broker: str, address: str) -> str | None:
    """Return what is wrong with the address of a queue in this kind of broker; None if it can be read."""
    if broker == "sqs":
        parts = urlsplit(address)
        named = SQS_NAME.fullmatch(parts.path.rpartition("/")[2]) is not None
        if parts.scheme not in ("http", "https") or not _has_host(parts) or not named or parts.query or parts.fragment:
            return "must be the URL of an SQS queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/jobs"
    elif broker == "redis" and "://" in address:
        return "must be the name of the queue, as the workers have it; the URL of Redis is broker.url"
    elif broker == "cloudwatch" and len(address) > DIMENSION_LENGTH:
        return f"must be a value of broker.dimension, at most {DIMENSION_LENGTH} characters"
    return None


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its message may contain the password
        raise ValueError("must be a URL") from None


def _has_host(parts: SplitResult) -> bool:
    try:
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # not a number, or several hosts
        return False
