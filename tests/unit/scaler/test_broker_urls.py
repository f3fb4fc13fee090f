# SPDX-License-Identifier: Apache-2.0
"""The addresses of brokers and queues: what is read, and what is refused at the start with the name of its field."""

import json
import ssl
from typing import Any
from urllib.parse import urlencode

import pytest
from kombu.utils.url import parse_url
from redis.asyncio import Redis

from scaler.config.broker_urls import queue_problem
from scaler.config.environment import read_settings
from scaler.config.settings import RedisSettings, parse_settings
from scaler.errors import ConfigurationError

SQS = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs"


def problems(broker: dict[str, Any], queue: str) -> tuple[str, ...]:
    fleet = {"name": "jobs", "services": ["jobs"], "queues": {"mail": queue}, "slots": 4, "min": 0, "max": 9}
    document = {"version": 2, "environment": "jobs", "region": "eu-central-1", "cluster": "jobs", "fleets": [fleet]}
    try:
        parse_settings(json.dumps(document | {"broker": broker}))
    except ConfigurationError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(
            "redis://h:6379/0?visibility_timeout=3600", "the option visibility_timeout", id="transport option"
        ),
        pytest.param("redis://h?db=1&socket_timeout=nan", "the option db, socket_timeout", id="options of redis-py"),
        pytest.param("rediss://h?ssl_cert_reqs=CERT_SOME", "none or optional or required", id="certificates"),
        pytest.param("rediss://h?ssl_cert_reqs=", "none or optional or required", id="no value"),
        pytest.param(
            "rediss://h?ssl_check_hostname=perhaps", "ssl_check_hostname must be false or true", id="host name"
        ),
        pytest.param("redis://h?ssl_cert_reqs=required", "for rediss:// only", id="TLS without TLS"),
        pytest.param("redis://h/jobs", "must look like redis://HOST:PORT/NUMBER", id="no number of a database"),
        pytest.param("redis://h:port/0", "must look like", id="no number of a port"),
        pytest.param("redis://h:70000/0", "must look like", id="port above 65535"),
        pytest.param("redis://a:6379/0;redis://b:6379/0", "one host", id="two hosts"),
        pytest.param("redis+socket:///tmp/redis.sock", "a socket exists on one host only", id="socket"),
        pytest.param("sentinel://h:26379;sentinel://i:26379", "a name that leads to the primary", id="Sentinel"),
        pytest.param("sqs://", "set broker.kind to sqs", id="SQS"),
        pytest.param("amqp://h//", "must look like redis://HOST:PORT/NUMBER", id="RabbitMQ"),
        pytest.param("redis://:secret@h/0", "set SCALER_BROKER_URL", id="password"),
        pytest.param("redis://[::1/0", "must be a URL", id="half an address"),
        pytest.param("redis://user:1?secret@h/0", "the option …", id="a password with a question mark"),
    ],
)
def test_a_redis_url_that_no_tick_could_use_is_refused_with_its_field(url: str, words: str) -> None:
    (problem,) = problems({"kind": "redis", "url": url}, "mail")
    assert problem.startswith("SCALER_CONFIG.broker.redis.url: ")
    assert words in problem
    assert "secret" not in problem


def from_environment(address: str, password: str = "", **broker: Any) -> tuple[RedisSettings | None, str | None]:
    """Read SCALER_BROKER_URL and SCALER_REDIS_PASSWORD beside a broker of the settings."""
    queue = "jobs" if broker.get("kind") == "redis" else SQS
    fleet = {"name": "jobs", "services": ["jobs"], "queues": {"jobs": queue}, "slots": 4, "min": 0, "max": 9}
    document = {"version": 2, "environment": "e", "region": "r", "cluster": "c", "fleets": [fleet], "broker": broker}
    variables = {"SCALER_BROKER_URL": address, "SCALER_REDIS_PASSWORD": password, "SCALER_SIGNING_SEED": "s"}
    _, found = read_settings(variables | {"SCALER_CONFIG": json.dumps(document)})
    assert password == "" or "secret" not in repr(found)
    return found.redis, found.redis_password


@pytest.mark.parametrize(
    ("url", "expected", "password"),
    [
        ("redis://user:secret@h:6379/1", "redis://user@h:6379/1", "secret"),
        ("redis://:s%40cret%2F@h:6379/0", "redis://h:6379/0", "s@cret/"),
        ("rediss://:secret@h?ssl_cert_reqs=CERT_NONE", "rediss://h?ssl_cert_reqs=none", "secret"),
        ("redis://h/0", "redis://h/0", None),
    ],
)
def test_celerys_broker_url_with_its_password_comes_from_the_environment(
    url: str, expected: str, password: str | None
) -> None:
    redis, found = from_environment(url, kind="redis", global_keyprefix="app")
    assert redis == RedisSettings(kind="redis", url=expected, global_keyprefix="app")
    assert found == password
    assert parse_url(url)["password"] == password, "Celery reads another password"


def test_the_password_may_come_alone() -> None:
    assert from_environment("redis://h/0", "secret", kind="redis")[1] == "secret"
    assert from_environment("", "secret", kind="redis", url="redis://h/0")[1] == "secret"


def test_sqs_needs_nothing_of_celerys_broker_url() -> None:
    assert from_environment("sqs://", kind="sqs") == (None, None)


@pytest.mark.parametrize(
    ("url", "password", "broker", "words"),
    [
        pytest.param("redis+socket:///secret", "", {}, "BROKER_URL.url: redis.socket://: a socket", id="socket"),
        pytest.param("sentinel://:secret@h:26379", "", {}, "BROKER_URL.url: sentinel://: the scaler", id="Sentinel"),
        pytest.param("redis://:secret@[::1", "", {}, "BROKER_URL must be a URL", id="no URL"),
        pytest.param("redis://:secret@℀/0", "", {}, "BROKER_URL must be a URL", id="no name of a host"),
        pytest.param("redis://h/0?secret=1", "", {}, "transport options", id="option"),
        pytest.param("redis://:secret@h", "", {"ca_file": "/a"}, "ca_file is for rediss", id="no TLS"),
        pytest.param("redis://:secret@h", "", {"url": "redis://h"}, "either SCALER_BROKER_URL or", id="both URLs"),
        pytest.param("redis://:secret@h", "pass", {}, "SCALER_REDIS_PASSWORD is set, and", id="both passwords"),
        pytest.param("", "", {}, "either SCALER_BROKER_URL or broker.url", id="no URL at all"),
        pytest.param("redis://:secret@h", "", {"kind": "sqs"}, "broker.kind is not redis", id="another kind"),
    ],
)
def test_a_wrong_broker_url_of_the_environment_is_refused_without_its_password(
    url: str, password: str, broker: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        from_environment(url, password, **({"kind": "redis"} | broker))
    assert len(caught.value.problems) == 1
    if "option" not in words:
        assert "secret" not in str(caught.value)


def test_two_files_of_certificates_are_refused() -> None:
    url = "rediss://h/0?ssl_ca_certs=%2Fa.pem"
    (problem,) = problems({"kind": "redis", "url": url, "ca_file": "/b.pem"}, "mail")
    assert "ca_file and ssl_ca_certs" in problem


@pytest.mark.parametrize(
    ("options", "verify"),
    [
        ("", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=required", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("?ssl_cert_reqs=CERT_OPTIONAL", ssl.CERT_OPTIONAL),
        ("?ssl_cert_reqs=CERT_NONE", ssl.CERT_NONE),
        ("?ssl_cert_reqs=none&ssl_check_hostname=False", ssl.CERT_NONE),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "/0", "/3"])
async def test_celerys_broker_url_makes_a_connection_of_redis_py(
    options: str, verify: ssl.VerifyMode, path: str
) -> None:
    url = f"rediss://scaler@redis.internal:6380{path}{options}"
    client = Redis.from_url(str(RedisSettings(kind="redis", url=url).url))
    pool: Any = client.connection_pool
    connection = pool.make_connection()
    assert (connection.host, connection.port, connection.username) == ("redis.internal", 6380, "scaler")
    assert connection.db == int(path.strip("/") or 0)
    assert connection.cert_reqs is verify
    if options:
        assert parse_url(url)["ssl"]["ssl_cert_reqs"] is verify, "Celery reads the URL in another way"
    await client.aclose()


@pytest.mark.parametrize("url", ["redis://h", "redis://user@h:6379/0", "rediss://h:6379"])
def test_a_redis_url_without_options_does_not_change(url: str) -> None:
    assert RedisSettings(kind="redis", url=url).url == url


def test_the_files_of_a_redis_url_are_those_of_the_connection() -> None:
    files = {"ssl_ca_certs": "/etc/ca.pem", "ssl_certfile": "/etc/my cert.pem", "ssl_keyfile": "/etc/key.pem"}
    found = RedisSettings(kind="redis", url=f"rediss://h?{urlencode(files)}").url
    assert Redis.from_url(str(found)).connection_pool.connection_kwargs.items() >= files.items()


@pytest.mark.parametrize(
    ("broker", "queue", "words"),
    [
        pytest.param("sqs", "jobs", "URL of an SQS queue", id="SQS: a name"),
        pytest.param("sqs", "sqs.eu-central-1.amazonaws.com/123456789012/jobs", "URL of an SQS queue", id="no scheme"),
        pytest.param("sqs", "arn:aws:sqs:eu-central-1:123456789012:jobs", "URL of an SQS queue", id="SQS: an ARN"),
        pytest.param("sqs", "https://sqs.eu-central-1.amazonaws.com/123456789012/", "URL of an SQS", id="no queue"),
        pytest.param("sqs", f"{SQS}.txt", "URL of an SQS queue", id="SQS: not a name of a queue"),
        pytest.param("sqs", f"{SQS}?wait=20", "URL of an SQS queue", id="SQS: options"),
        pytest.param("sqs", "https://h:0/1/jobs", "URL of an SQS queue", id="SQS: port 0"),
        pytest.param("redis", SQS, "the name of the queue", id="Redis: a URL"),
        pytest.param("cloudwatch", "q" * 1025, "at most 1024 characters", id="CloudWatch: too long"),
        pytest.param("sqs", SQS, None, id="SQS"),
        pytest.param("sqs", f"{SQS}.fifo", None, id="SQS: FIFO"),
        pytest.param("sqs", "http://127.0.0.1:4566/queue/us-east-1/000000000000/jobs", None, id="SQS: an emulator"),
        pytest.param("redis", "jobs", None, id="Redis"),
        pytest.param("cloudwatch", "jobs", None, id="CloudWatch"),
    ],
)
def test_the_address_of_a_queue_fits_its_broker(broker: str, queue: str, words: str | None) -> None:
    found = queue_problem(broker, queue)
    assert found is None if words is None else words in (found or "")


def test_a_wrong_address_names_the_queue_and_the_fleet() -> None:
    (problem,) = problems({"kind": "sqs"}, "mail")
    assert problem.startswith("SCALER_CONFIG.fleets: queue mail of jobs must be the URL of an SQS queue")
    (problem,) = problems({"kind": "kafka"}, "mail")
    assert problem.startswith("SCALER_CONFIG.broker"), "the queues of an unknown broker cannot be wrong"
