# SPDX-License-Identifier: Apache-2.0
"""Every command names its environment in one way: a file, a folder, a name, or the only one that runs here."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer
import typer.main
from typer.testing import CliRunner, Result

from openmwaa.cli import app, plan
from openmwaa.errors import EnvironmentNotFoundError, OpenmwaaError
from openmwaa.local import paths
from openmwaa.local.daemon import orphans
from tests.support.environments import LEAST_YAML

Start = Callable[..., Path]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the daemon of an environment in a folder of its own, as far as a command can see: its lock is held."""
    for module in (paths, orphans):
        monkeypatch.setattr(module, "runtime_folder", lambda: tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    with ExitStack() as daemons:

        def run(name: str, folder: str = "", *, is_running: bool = True) -> Path:
            file = tmp_path / (folder or f"the {name}") / "environment.yaml"
            file.parent.mkdir()
            file.write_text(LEAST_YAML.replace("example", name))
            local = paths.LocalPaths.of(file, name)
            local.make()
            local.record_file(file)
            if is_running:
                daemons.enter_context(orphans.daemon_lock(local))
            return file

        yield run


def openmwaa(command: str) -> Result:
    return CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "400", "TERM": "dumb"})


def named(command: str) -> str:
    """The name of the environment that a command reads."""
    result = openmwaa(f"{command} --json")
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["environment"]["name"])


@pytest.mark.parametrize("form", ["{}", "-e {}", "--environment {}"])
@pytest.mark.parametrize(
    "name", ["'the sales/environment.yaml'", "'the sales'", "sales"], ids=["file", "folder", "name"]
)
def test_an_environment_has_one_name_in_all_commands(start: Start, name: str, form: str) -> None:
    start("sales")
    start("stock")
    assert named("validate " + form.format(name)) == "sales"


def test_without_a_name_environment_yaml_of_the_folder_is_used(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("sales")
    monkeypatch.chdir(start("stock", is_running=False).parent)
    assert named("validate") == "stock"


def test_without_a_file_the_only_one_that_runs_is_used_and_reported(start: Start) -> None:
    file = start("sales")
    start("stock", is_running=False)
    result = openmwaa("validate --json")
    assert json.loads(result.stdout)["environment"]["name"] == "sales"
    assert result.stderr == f"Environment sales, the only one that runs here: {file}\n"


def test_several_candidates_are_listed(start: Start) -> None:
    files = [start("sales"), start("stock")]
    for command in ("validate", "validate other"):
        error = openmwaa(command).exception
        assert isinstance(error, EnvironmentNotFoundError)
        assert str(error).splitlines()[1:] == [f"- sales: {files[0]}", f"- stock: {files[1]}"]


def test_two_that_run_with_one_name_are_candidates(start: Start) -> None:
    files = [start("sales", "first"), start("sales", "second")]
    error = openmwaa("validate sales").exception
    assert str(error).splitlines()[1:] == [f"- sales: {file}" for file in files]


def test_a_name_that_does_not_run_is_an_error(start: Start) -> None:
    start("sales", is_running=False)
    error = openmwaa("validate sales").exception
    assert str(error) == (
        "There is no file sales in this folder, and 0 environments of this name run on this machine. "
        "Name the environment by its file. Environments that run here: none."
    )


def test_without_a_file_and_without_one_that_runs_the_error_names_the_default(start: Start) -> None:
    start("sales", is_running=False)
    error = openmwaa("validate").exception
    assert isinstance(error, EnvironmentNotFoundError)
    assert str(error).startswith("There is no file environment.yaml in this folder, and 0 environments run on this")


def test_a_missing_file_is_reported_by_its_path(start: Start) -> None:
    start("sales")
    assert "missing.yaml: the file does not exist" in str(openmwaa("validate missing.yaml").exception)


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "."], ids=["long", "deep", "folder"])
def test_an_odd_name_is_one_message(start: Start, name: str) -> None:
    start("sales")
    result = CliRunner().invoke(app, ["validate", name])
    assert isinstance(result.exception, OpenmwaaError), result.exception


def test_a_folder_without_a_file_does_not_hide_a_name(start: Start, tmp_path: Path) -> None:
    start("sales")
    (tmp_path / "sales").mkdir()
    assert named("validate sales") == "sales"


def test_an_environment_that_stops_meanwhile_is_no_candidate(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("sales")

    def gone(_: Path) -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "readlink", gone)
    assert "Environments that run here: none." in str(openmwaa("validate sales").exception)


def test_two_names_are_refused(start: Start) -> None:
    start("sales")
    result = openmwaa("validate sales -e sales")
    assert (result.exit_code, "name the environment once" in result.stderr) == (2, True)


def test_links_of_another_user_are_ignored(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start("sales")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert "Environments that run here: none." in str(openmwaa("validate sales").exception)


def test_data_is_deleted_only_of_an_environment_that_the_command_names(start: Start) -> None:
    start("sales")
    result = openmwaa("local down --delete-data")
    assert (result.exit_code, "name the environment" in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    ("words", "environment", "arguments"),
    [
        pytest.param("sales -- -destroy", "sales", ["-destroy"], id="argument"),
        pytest.param("-e sales -- -destroy -lock=false", "sales", ["-destroy", "-lock=false"], id="option"),
        pytest.param("-- -destroy", "sales", ["-destroy"], id="inferred"),
        pytest.param("sales", "sales", [], id="no arguments"),
    ],
)
def test_plan_passes_the_words_after_the_dashes_to_terraform(
    start: Start, monkeypatch: pytest.MonkeyPatch, words: str, environment: str, arguments: list[str]
) -> None:
    start("sales")
    seen: list[object] = []

    class Seen(Exception):  # noqa: N818 - ends the command where Terraform would start
        pass

    def verdict(_terraform: object, found: object, given: list[str]) -> object:
        seen.extend([getattr(found, "name", None), given])
        raise Seen

    monkeypatch.setattr("cdktf_app.main.synth", lambda *_: Path("out/cdk.tf.json"))
    monkeypatch.setattr(plan, "PlanRunner", lambda *_, **__: None)
    monkeypatch.setattr(plan, "review", verdict)
    assert isinstance(openmwaa(f"plan {words}").exception, Seen)
    assert seen == [environment, arguments]


def test_every_command_of_an_environment_has_the_option() -> None:
    def commands(group: object, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
        for name, command in getattr(group, "commands", {}).items():
            yield from commands(command, f"{prefix}{name} ")
            yield prefix + name, {word for param in command.params for word in param.opts}

    found = dict(commands(typer.main.get_command(app)))
    without = {name for name, words in found.items() if "--environment" not in words}
    groups = {"dags", "local", "requirements", "connections", "variables", "rotate"}
    assert without == {"schema", "init", "local celery"} | groups, "these have no environment"
