# SPDX-License-Identifier: Apache-2.0
"""The startup script in bash: its variables hold, reserved ones stay, and its failure stops the component."""

import os
from pathlib import Path

import pytest

from openmwaa_runtime.artefacts.startup_script import StartupScriptError, run

pytestmark = pytest.mark.emulated

ENVIRON = {
    "PATH": os.environ["PATH"],
    "AIRFLOW_HOME": "/opt/airflow",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "OPENMWAA_FERNET_KEY": "secret",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:secret@db/airflow",
}


class Script:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "startup.sh"
        self.container: list[str] = []
        self.stream: list[str] = []

    def run(self, text: str, component: str = "worker", within_s: float = 60) -> dict[str, str]:
        self.file.write_text(text)
        return run(
            self.file,
            component,
            ENVIRON,
            log=self.container.append,
            write_log=self.stream.extend,
            within_s=within_s,
        )


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_exported_variables_hold_and_others_do_not(script: Script) -> None:
    found = script.run('export A="x  y\nz"\nB=no\nexport AIRFLOW__CORE__PARALLELISM=16 PATH="$PATH:/more"\n')
    assert found == {"A": "x  y\nz", "AIRFLOW__CORE__PARALLELISM": "16", "PATH": f"{ENVIRON['PATH']}:/more"}


def test_they_hold_also_if_the_script_exits(script: Script) -> None:
    assert script.run("export A=1\nexit 0\nexport B=1") == {"A": "1"}


@pytest.mark.parametrize(
    "text",
    ["trap 'echo bye' EXIT\nexport A=1", "set -- x y\nexport A=1", "export A=1 PATH=/nowhere", "set -eu\nexport A=1"],
    ids=["a trap of its own", "other arguments", "another PATH", "strict"],
)
def test_they_hold_whatever_the_script_changes_in_bash(script: Script, text: str) -> None:
    assert script.run(text)["A"] == "1"


@pytest.mark.parametrize(
    ("component", "name"),
    [
        *(("worker", "worker"), ("web-server", "webserver"), ("execution-api", "webserver")),
        *((other, "scheduler") for other in ("scheduler", "dag-processor", "triggerer", "prepare-artefacts")),
    ],
)
def test_the_component_has_mwaas_name(script: Script, component: str, name: str) -> None:
    assert script.run("export SEEN=$MWAA_AIRFLOW_COMPONENT", component) == {"SEEN": name}


@pytest.mark.parametrize(
    "name",
    [
        *("OPENMWAA_FERNET_KEY", "OPENMWAA_NEW", "WORKER_AGENT_PUBLIC_KEY", "AWS_DEFAULT_REGION", "AIRFLOW_HOME"),
        *("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CELERY__BROKER_URL"),
        *("MWAA_AIRFLOW_COMPONENT", "ECS_AGENT_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    ],
)
def test_reserved_variables_stay(script: Script, name: str) -> None:
    assert script.run(f"export {name}=mine A=1") == {"A": "1"}
    assert f"{name} is reserved: its value stays" in script.stream


def test_the_script_sees_no_password_of_the_component(script: Script) -> None:
    script.run("env")
    assert not [line for line in script.stream if "secret" in line or line.startswith("OPENMWAA_")]


def test_its_output_is_in_both_logs(script: Script) -> None:
    script.run("echo one\necho two >&2\nprintf 'three \\xff'")
    assert script.stream == ["one", "two", "three \\xff", "the startup script has succeeded"]
    assert script.container[0] == "startup script: one"


@pytest.mark.parametrize(
    ("text", "status"), [("echo bad\nexit 3", 3), ("echo bad\nfalse", 1), ("echo bad\nset -e\nnowhere\ntrue", 127)]
)
def test_a_failure_stops_the_component_and_its_log_is_written_first(script: Script, text: str, status: int) -> None:
    with pytest.raises(StartupScriptError, match=f"ended with status {status}; worker does not start"):
        script.run(text)
    assert script.stream[0] == "bad"
    assert script.stream[-1] == f"the startup script ended with status {status}"


def test_a_script_that_does_not_end_is_killed_with_its_children(script: Script, tmp_path: Path) -> None:
    with pytest.raises(StartupScriptError, match=r"did not end within 0\.5 s"):
        script.run(f"sleep 600 & echo $! > {tmp_path}/pid\nwait", within_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_process_in_the_background_does_not_delay_the_component(script: Script, tmp_path: Path) -> None:
    assert script.run(f"sleep 600 & echo $! > {tmp_path}/pid\nexport A=1") == {"A": "1"}
    os.kill(int((tmp_path / "pid").read_text()), 9)
