# SPDX-License-Identifier: Apache-2.0
"""`openmwaa connections` and `openmwaa variables`: Airflow's own files to Secrets Manager or Airflow, and back."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath, Local, connect
from openmwaa.cli.output import AsJson, print_line, print_progress, write_json
from openmwaa.config.secret_prefixes import Kind
from openmwaa.operate.stored_values import SecretsManager, read_file, write_file, write_to_airflow
from openmwaa.progress import reported

Store = Literal["secrets-manager", "database"]
ImportFile = Annotated[Path, typer.Argument(help="A JSON or YAML file, as Airflow exports it.", metavar="FILE")]
ExportFile = Annotated[Path, typer.Argument(help="A new file, .json or .yaml; only you can read it.", metavar="FILE")]
To = Annotated[Store, typer.Option("--to", help="Secrets Manager, or Airflow's database by the web server's API.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the file and list the names; write nothing.")]


def app_of(kind: Kind) -> typer.Typer:
    """Return the commands for connections or for variables."""
    app = typer.Typer(help=f"Import and export Airflow's {kind}.", no_args_is_help=True)

    @app.command("import", help=f"Write the {kind} of a file; those of the same name are replaced. No value is shown.")
    def import_(
        file: ImportFile,
        path: EnvironmentPath = DEFAULT_FILE,
        *,
        _environment: EnvironmentOption = None,
        to: To = "secrets-manager",
        dry_run: DryRun = False,
        as_json: AsJson = False,
        local: Local = None,
    ) -> None:
        connection, values = connect(path, local=local), read_file(kind, file)
        store = SecretsManager(connection, kind)
        existing = None
        with reported(f"Writing {len(values)} {kind}", print_progress):
            if dry_run:
                existing = store.names() if to == "secrets-manager" else None
            elif to == "database":
                write_to_airflow(connection, kind, values)
            else:
                for name, text in values.items():
                    store.write(name, text)
        replaced = sorted(values.keys() & set(existing or ()))
        if as_json:
            document = {"to": to, "dry_run": dry_run, kind: sorted(values)}
            write_json(document | ({"replaced": replaced} if existing is not None else {}))
            return
        for name in sorted(values):
            print_line(f"{name}{' (replaces the stored one)' if name in replaced else ''}")
        done = "would be written" if dry_run else "are written"
        print_line(f"{len(values)} {kind} {done} to {f'{store.prefix}…' if to == 'secrets-manager' else 'Airflow'}.")

    @app.command(help=f"Write the {kind} in Secrets Manager to a new file of mode 0600.")
    def export(
        file: ExportFile,
        path: EnvironmentPath = DEFAULT_FILE,
        *,
        _environment: EnvironmentOption = None,
        as_json: AsJson = False,
        local: Local = None,
    ) -> None:
        store = SecretsManager(connect(path, local=local), kind)
        with reported(f"Reading {kind}", print_progress):
            values = {name: store.read(name) for name in store.names()}
        write_file(file, values)
        if as_json:
            write_json({"file": str(file), kind: sorted(values)})
        else:
            print_line(f"{len(values)} {kind} of {store.prefix}… are in {file}.")

    return app
