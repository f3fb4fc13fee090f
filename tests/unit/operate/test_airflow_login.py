# SPDX-License-Identifier: Apache-2.0
"""The address of the web server: the proof names it, and does not cross the network in plain text."""

from pathlib import Path

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.airflow_login import Caller
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import OperateError
from tests.support.environments import LEAST

DOMAIN = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789EXAMPLE"}


def connection(*, https: bool = True, **endpoints: str) -> Connection:
    web_access = DOMAIN if https else {"allow_http": True}
    return Connection(
        Environment.model_validate({**LEAST, "web_access": web_access}), Path("environment.yaml"), endpoints
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        pytest.param(None, "airflow.example.com", id="the domain of the file"),
        pytest.param("https://AIRFLOW.example.com/", "airflow.example.com", id="upper case"),
        pytest.param("https://internal.airflow.example.com:8443", "internal.airflow.example.com", id="another name"),
        pytest.param("https://evil.example", "evil.example", id="a stranger, whose proof is of no use elsewhere"),
        pytest.param("https://localhost:8443", "airflow.example.com", id="a tunnel"),
        pytest.param("http://127.0.0.1:8080", "airflow.example.com", id="a tunnel to an address"),
        pytest.param("http://[::1]:8080", "airflow.example.com", id="a tunnel to an IPv6 address"),
    ],
)
def test_the_proof_names_the_web_server_that_receives_it(url: str | None, host: str) -> None:
    assert Caller(url=url).web_host(connection()) == host


def test_on_this_machine_the_proof_names_the_address_of_the_environment() -> None:
    here = connection(https=False, aws="http://127.40.1.2:4566", web="http://127.40.1.7:8080")
    assert [Caller(url=url).web_host(here) for url in (None, "http://localhost:9000")] == ["127.40.1.7"] * 2


@pytest.mark.parametrize("url", ["http://airflow.example.com", "HTTP://airflow.example.com", "http://localhost.evil"])
def test_no_proof_crosses_the_network_in_plain_text_if_the_file_has_https(url: str) -> None:
    with pytest.raises(OperateError, match="in plain text: use https"):
        Caller(url=url).web_url(connection())
    assert Caller(url=url).web_url(connection(https=False)) == url


@pytest.mark.parametrize("url", ["airflow.example.com", "ftp://airflow.example.com", "https://", ""])
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(OperateError, match="not an address"):
        Caller(url=url).web_url(connection())
