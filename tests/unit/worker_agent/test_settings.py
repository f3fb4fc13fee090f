# SPDX-License-Identifier: Apache-2.0
"""The settings from environment variables: names, defaults and limits."""

import base64

import pytest

from worker_agent.errors import SettingsError
from worker_agent.settings import AgentSettings

URI = {"ECS_AGENT_URI": "http://169.254.170.2/api/t"}
KEY = base64.b64encode(b"k" * 32).decode()


def test_every_variable_is_read() -> None:
    environ = {
        "ECS_AGENT_URI": "http://169.254.170.2/api/t//",
        "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/t/",
        "WORKER_AGENT_PORT": " 9000 ",
        "WORKER_AGENT_PUBLIC_KEY": f" {KEY}\n",
        "WORKER_AGENT_PROTECTION_MINUTES": "90",
    }
    assert AgentSettings.from_environment(environ) == AgentSettings(
        "http://169.254.170.2/api/t", "http://169.254.170.2/v4/t", 9000, b"k" * 32, 90
    )


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_other_variables_have_defaults(value: str | None) -> None:
    names = ("ECS_CONTAINER_METADATA_URI_V4", "WORKER_AGENT_PORT", "WORKER_AGENT_PUBLIC_KEY")
    empty = {} if value is None else dict.fromkeys(names, value)
    assert AgentSettings.from_environment(URI | empty) == AgentSettings(URI["ECS_AGENT_URI"], None, 8790, None, 60)


@pytest.mark.parametrize("environ", [{}, {"ECS_AGENT_URI": ""}, {"ECS_AGENT_URI": "/"}], ids=["not set", "empty", "/"])
def test_without_the_uri_of_the_ecs_agent_there_are_no_settings(environ: dict[str, str]) -> None:
    assert AgentSettings.from_environment(environ) is None


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        pytest.param("WORKER_AGENT_PORT", 0, 65535, id="port"),
        pytest.param("WORKER_AGENT_PROTECTION_MINUTES", 1, 2880, id="protection minutes"),
    ],
)
def test_a_number_is_within_its_limits(name: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        settings = AgentSettings.from_environment(URI | {name: str(value)})
        assert settings is not None
        assert value in (settings.port, settings.protection_minutes)
    for text in (str(lowest - 1), str(highest + 1), "many", "1.5"):
        message = f"{name} must be a whole number from {lowest} to {highest}, not '{text}'"
        with pytest.raises(SettingsError, match=message):
            AgentSettings.from_environment(URI | {name: text})


@pytest.mark.parametrize(
    "text", ["AAAA", base64.b64encode(b"k" * 33).decode(), KEY[:-1], f"{KEY}!", f"{KEY[:8]} {KEY[8:]}"], ids=repr
)
def test_a_key_that_is_not_32_bytes_in_base64_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match="WORKER_AGENT_PUBLIC_KEY"):
        AgentSettings.from_environment(URI | {"WORKER_AGENT_PUBLIC_KEY": text})
