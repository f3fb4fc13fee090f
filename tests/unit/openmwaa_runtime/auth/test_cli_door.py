# SPDX-License-Identifier: Apache-2.0
"""The CLI door runs listed commands with listed options, within the role, without a shell."""

import pytest

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.cli_door import (
    COMMANDS,
    RUNS_DAG_CODE,
    CliRefusedError,
    parse,
)
from openmwaa_runtime.auth.errors import AccessDeniedError


@pytest.mark.parametrize(("command", "role"), [(name, role) for name, (role, _) in COMMANDS.items()])
def test_a_command_needs_its_role(command: str, role: AirflowRole) -> None:
    for caller in AirflowRole:
        if caller.includes(role):
            assert list(parse(command, caller)) == command.split()
        else:
            with pytest.raises(AccessDeniedError, match=f"needs the role {role}; the token has {caller}"):
                parse(command, caller)


def test_words_are_as_in_a_shell_without_its_expansions() -> None:
    words = parse(
        """dags trigger example --conf '{"a": "$HOME; `id` | x > /tmp/y"}' -r "two words" """, AirflowRole.USER
    )
    conf = '{"a": "$HOME; `id` | x > /tmp/y"}'
    assert words == ["dags", "trigger", "example", "--conf", conf, "-r", "two words"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dags",
        "db shell",
        "db reset -y",
        "users create",
        "config list",
        "connections export /tmp/x",
        "variables import /etc/passwd",
        "rotate-fernet-key",
        "scheduler",
        "sh -c id",
        "dags; id",
        "'dags list'",
        "'dags list' --local",
        "-h dags list",
        "DAGS LIST",
        "dags\x00list",
        "dags 'unclosed",
        *(f"{name} x" for name in sorted(RUNS_DAG_CODE)),
    ],
)
def test_an_unlisted_command_is_refused(line: str) -> None:
    with pytest.raises(CliRefusedError):
        parse(line, AirflowRole.ADMIN)


@pytest.mark.parametrize(
    "line",
    [
        "dags list --local",
        "dags list -l",
        "dags list -vl",
        "dags list --loc",
        "dags show example --save=/opt/airflow/x.png",
        "dags show example -s/tmp/x",
        "dags show example --sa x",
        "dags show example --imgcat",
        "variables list --pid x",
        "tasks clear example -R",
        "tasks clear example --dag-regex",
        "dags list -- --local",
        "version --help",
    ],
)
def test_an_unlisted_option_is_refused(line: str) -> None:
    with pytest.raises(CliRefusedError, match="has no option"):
        parse(line, AirflowRole.ADMIN)


@pytest.mark.parametrize("name", sorted(RUNS_DAG_CODE))
def test_a_command_with_dag_code_is_refused_with_another_way(name: str) -> None:
    with pytest.raises(CliRefusedError, match="openmwaa dags test"):
        parse(name, AirflowRole.ADMIN)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_that_reaches_all_dags_is_for_admin_where_roles_differ_between_dags(command: str) -> None:
    of_dags = command.partition(" ")[0] in ("assets", "backfill", "dags", "tasks")
    assert parse(command, AirflowRole.ADMIN, single_dags=True)
    if of_dags:
        with pytest.raises(AccessDeniedError, match="REST API"):
            parse(command, AirflowRole.OP, single_dags=True)
    elif COMMANDS[command][0] is not AirflowRole.ADMIN:
        assert parse(command, AirflowRole.OP, single_dags=True)
