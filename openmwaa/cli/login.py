# SPDX-License-Identifier: Apache-2.0
"""`openmwaa login`, `whoami`, `api` and `airflow`: Airflow with your AWS identity, without a password."""

import base64
import json
import shlex
import sys
import webbrowser
from typing import Annotated, Any, Literal

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, choose, connect
from openmwaa.cli.output import AsJson, console, print_line, print_progress, table, write_json
from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.airflow_http import LOGIN_PATH, send
from openmwaa.operate.airflow_login import Caller, exchange, required
from openmwaa.operate.errors import OperateError

RoleName = Literal["Public", "Viewer", "User", "Op", "Admin"]
Role = Annotated[RoleName | None, typer.Option(help="The role to use. Default: the highest that IAM grants.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="An IAM user of the environment on this machine: viewer, user, op or admin. In AWS use AWS_PROFILE.",
        metavar="PRINCIPAL",
    ),
]
Url = Annotated[str | None, typer.Option(help="The web server's address. Default: the file's domain, or from ECS.")]
Account = Annotated[str | None, typer.Option(help="The environment's AWS account. Default: that of your identity.")]


def login(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    role: Role = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address instead.")] = False,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Open Airflow in the browser with your AWS identity. The address is valid once and for 60 seconds."""
    connection = required(connect(path, local=local))
    caller = Caller(principal, account=account, url=url)
    answer = exchange(connection, "web", caller, role=role)
    # Browsers do not send a fragment to the server.
    address = f"{caller.web_url(connection)}{LOGIN_PATH}/aws-console-sso?login=true#{answer['web_token']}"
    if as_json:
        write_json({"url": address, **{key: answer[key] for key in ("iam_identity", "role", "granted_by")}})
        return
    print_progress(f"{answer['iam_identity']} is {answer['role']} in {connection.environment.name}.")
    if no_browser or not webbrowser.open(address):
        print_line(address)


def logout(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    of: Annotated[
        str | None,
        typer.Option("--of", help="The ARN of another principal, as `whoami` prints it; needs Admin.", metavar="ARN"),
    ] = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    local: Local = None,
) -> None:
    """End all your sessions and keys, or those of another principal; web servers refuse them after 5 seconds."""
    connection = required(connect(path, local=local))
    caller = Caller(principal, account=account, url=url)
    answer = exchange(connection, "revoke", caller, principal=of)
    print_line(f"All sessions of {answer['revoked']} end within 5 seconds.")


def whoami(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    role: Role = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Print your AWS identity, its proof, your role in Airflow, and the policies that grant it."""
    connection = required(connect(path, local=local))
    answer = exchange(connection, "api", Caller(principal, account=account, url=url), role=role)
    found = {key: answer[key] for key in ("iam_identity", "proof", "role", "granted_by")}
    if as_json:
        write_json({"environment": connection.environment.name, **found})
        return
    rows = table("", "")
    rows.show_header = False
    rows.add_row("Identity", str(found["iam_identity"]))
    rows.add_row("Proof", str(found["proof"]))
    rows.add_row("Role", str(found["role"]))
    rows.add_row("Granted by", ", ".join(found["granted_by"]) or "a policy that IAM does not name")
    console().print(rows)


def api(
    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], typer.Argument(help="The HTTP method.")],
    resource: Annotated[str, typer.Argument(help="The path after /api/v2 or /api/v1, such as /dags.", metavar="PATH")],
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The body as JSON; `-` reads it from the standard input.")
    ] = None,
    role: Role = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    local: Local = None,
) -> None:
    """Send a request to Airflow's REST API, and print its JSON."""
    if not resource.startswith("/"):
        raise typer.BadParameter("begin the path with /, such as /dags", param_hint="PATH")
    body = _body(sys.stdin.read() if data == "-" else data)
    connection = required(connect(path, local=local))
    write_json(
        EnvironmentApi(connection, role, Caller(principal, account=account, url=url)).call(method, resource, body)
    )


def _body(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"is not JSON: {error}", param_hint="--data") from error


def airflow(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(help="An Airflow command, such as `dags list`.", metavar="[ENVIRONMENT --] AIRFLOW COMMAND"),
    ],
    *,
    _environment: EnvironmentOption = None,
    principal: As = None,
    account: Account = None,
    url: Url = None,
    local: Local = None,
) -> None:
    """Run a command of Airflow in the web server, as far as your role permits. The exit code is that of Airflow."""
    named = words[1:2] == ["--"]
    command = words[2:] if named else words
    if not command:
        raise typer.BadParameter("write a command of Airflow, such as `openmwaa airflow dags list`")
    connection = required(connect(choose(context, words[0] if named else None), local=local))
    caller = Caller(principal, account=account, url=url)
    token = exchange(connection, "cli", caller)["cli_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    line = shlex.join(command).encode()
    answer = send(
        connection, "POST", f"{caller.web_url(connection)}{LOGIN_PATH}/cli", line, headers, accepted=frozenset({400})
    )
    if "stdout" not in answer:
        raise OperateError(str(answer.get("message", "The command is refused.")))
    sys.stdout.write(base64.b64decode(answer["stdout"]).decode(errors="replace"))
    sys.stderr.write(base64.b64decode(answer["stderr"]).decode(errors="replace"))
    raise typer.Exit(answer["exit_status"])
