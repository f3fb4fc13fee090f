# SPDX-License-Identifier: Apache-2.0
"""The prefixes of connections and variables: MWAA's, or those of the options."""

from pathlib import Path

import pytest

from openmwaa.config.environment_file import loads
from openmwaa.config.secret_prefixes import MWAA_PREFIXES, secret_prefixes
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST_YAML

BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"


@pytest.mark.parametrize(
    ("options", "prefixes"),
    [
        ({}, dict(MWAA_PREFIXES)),
        ({"secrets.backend": BACKEND}, dict(MWAA_PREFIXES)),
        (
            {"secrets.backend": BACKEND, "secrets.backend_kwargs": '{"connections_prefix": "/a/b/"}'},
            {"connections": "a/b", "variables": "airflow/variables"},
        ),
        (
            {"workers.secrets_backend_kwargs": '{"variables_prefix": "team.a"}'},
            {"connections": "airflow/connections", "variables": "team.a"},
        ),
        ({"workers.secrets_backend_kwargs": '{"variables_prefix": null}'}, {"connections": "airflow/connections"}),
        ({"secrets.backend_kwargs": '{"connections_prefix": "without-a-backend"}'}, dict(MWAA_PREFIXES)),
    ],
    ids=["MWAA's", "MWAA's own option", "of MWAA's option", "of workers", "switched off", "without effect"],
)
def test_the_prefixes_are_those_that_airflow_reads(options: dict[str, str], prefixes: dict[str, str]) -> None:
    assert secret_prefixes(options) == prefixes


@pytest.mark.parametrize(
    "value",
    [
        *("{", "[]", '{"connections_prefix": "*"}', '{"connections_prefix": "a/${x}"}', '{"variables_prefix": 3}'),
        *('{"connections_prefix": "openmwaa-example"}', '{"connections_prefix": "/openmwaa/x"}'),
        f'{{"connections_prefix": "{"a" * 65}"}}',
    ],
    ids=lambda value: value[:40],
)
@pytest.mark.parametrize("option", ["secrets.backend_kwargs", "workers.secrets_backend_kwargs"])
def test_arguments_that_open_more_than_their_prefix_are_refused(option: str, value: str) -> None:
    with pytest.raises(EnvironmentFileError, match="a JSON object; a prefix in it is letters"):
        loads(f"{LEAST_YAML}airflow_configuration_options:\n  {option}: '{value}'\n", Path("e.yaml"))
