# SPDX-License-Identifier: Apache-2.0
"""Containers as processes: environment, order, health, end, no orphans."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import psutil
import pytest

from local_ecs.runtime.api import TaskHealth, TaskRunning
from local_ecs.runtime.process_tree import kill_all
from local_ecs.runtime.sessions import SessionRegister
from tests.emulated.local_ecs.runtime.conftest import Bench, eventually

ROOT = Path(__file__).resolve().parents[4]
FOREVER = "echo up; exec sleep 1000"


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": [script], **more}


async def test_an_essential_container_that_exits_ends_the_task_with_its_exit_code(bench: Bench) -> None:
    arn = await bench.start(shell("main", "exit 3"), shell("side", FOREVER, essential=False))
    event = await bench.stopped(arn)
    assert (event.stop_code, event.reason) == ("EssentialContainerExited", "Essential container in task exited")
    assert {state.name: state.exit_code for state in event.containers} == {"main": 3, "side": 143}
    assert not bench.processes()


async def test_a_container_that_is_not_essential_may_exit(bench: Bench) -> None:
    arn = await bench.start(shell("main", FOREVER), shell("side", "exit 1", essential=False))
    await eventually(lambda: any(state.exit_code == 1 for state in bench.runner.containers(arn)), "side to have exited")
    await eventually(lambda: bench.of(TaskRunning, arn), "TaskRunning")
    assert {state.name: state.status for state in bench.runner.containers(arn)} == {
        "main": "RUNNING",
        "side": "STOPPED",
    }


async def test_a_task_has_its_own_tmp_which_is_removed_at_its_end(bench: Bench) -> None:
    script = 'touch "$TMPDIR/left" && echo "$TMPDIR" && exit 0'
    first, other = await bench.start(shell("main", script)), await bench.start(shell("main", script), task_id="t2")
    await bench.stopped(first)
    await bench.stopped(other)
    await eventually(lambda: len(bench.log()) == 2, "the paths of both /tmp folders")
    folders = {Path(line) for line in bench.log()}
    assert len(folders) == 2, f"two tasks shared one /tmp: {folders}"
    await eventually(lambda: not any(folder.exists() for folder in folders), f"{folders} to be removed")


async def test_the_environment_has_only_the_defined_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "from the daemon")
    bench.secrets.values["arn:secret"] = "s3cret"
    bench.names["db.invented.example"] = "127.20.0.3"
    container = shell(
        "main",
        "env",
        environment=[
            {"name": "BOTH", "value": "definition"},
            {"name": "HOST", "value": "db.invented.example"},
            {"name": "DAGS", "value": "/opt/dags/sub"},
            {"name": "OTHER", "value": "/opt/dagsfoo"},
        ],
        secrets=[{"name": "PASSWORD", "valueFrom": "arn:secret"}],
        mountPoints=[{"containerPath": "/opt/dags", "sourceVolume": "dags"}],
    )
    await bench.stopped(await bench.start(container))
    seen = dict(line.split("=", 1) for line in bench.log())
    assert "LEAKED" not in seen, "the daemon's own environment reached a container"
    expected = {"BOTH": "definition", "FROM_IMAGE": "yes", "HOST": "127.20.0.3", "PASSWORD": "s3cret"}
    expected |= {"OTHER": "/opt/dagsfoo", "AWS_ENDPOINT_URL": "http://127.20.0.1:4566", "LANG": "C.UTF-8"}
    assert expected.items() <= seen.items()
    assert seen["DAGS"] == str(bench.folder / "tasks/t1/volumes/dags/sub")
    assert seen["ECS_AGENT_URI"].startswith("http://127.20.0.2:4670/api/")


async def test_the_variables_of_a_container_are_known_while_it_runs(bench: Bench) -> None:
    bench.secrets.values["arn:key"] = "secret"
    secrets = [{"name": "KEY", "valueFrom": "arn:key"}]
    arn = await bench.start({"name": "scheduler", "command": ["sleep 60"], "secrets": secrets})
    await eventually(lambda: bench.runner.environment_of("scheduler"), "the container runs")
    environment = bench.runner.environment_of("scheduler")
    assert environment is not None
    assert environment["KEY"] == "secret"
    assert bench.runner.environment_of("worker") is None
    await bench.runner.stop(arn, reason="the end of the test")
    await eventually(lambda: bench.runner.environment_of("scheduler") is None, "the container has stopped")


async def test_two_containers_share_a_volume_which_is_removed_with_the_task(bench: Bench) -> None:
    mount = {
        "mountPoints": [{"containerPath": "/data", "sourceVolume": "v"}],
        "environment": [{"name": "D", "value": "/data"}],
    }
    writer = shell("writer", "echo hello > $D/f", essential=False, **mount)
    reader = shell("reader", "cat $D/f", dependsOn=[{"containerName": "writer", "condition": "SUCCESS"}], **mount)
    await bench.stopped(await bench.start(writer, reader))
    assert "hello" in bench.log()
    await eventually(lambda: not (bench.folder / "tasks/t1").exists(), "the task's folder to be removed")


@pytest.mark.parametrize(
    ("condition", "script", "starts"),
    [
        ("START", "exec sleep 1000", True),
        ("COMPLETE", "exit 1", True),
        ("SUCCESS", "exit 0", True),
        ("SUCCESS", "exit 1", False),
        ("HEALTHY", "exit 0", False),
    ],
)
async def test_depends_on(bench: Bench, condition: str, script: str, starts: bool) -> None:
    first = shell("first", script, essential=False)
    second = shell("second", "echo ran", dependsOn=[{"containerName": "first", "condition": condition}])
    event = await bench.stopped(await bench.start(first, second))
    assert ("ran" in bench.log()) is starts
    assert event.stop_code == ("EssentialContainerExited" if starts else "TaskFailedToStart"), event.reason
    if not starts:
        assert f"second depends on first ({condition})" in event.reason


async def test_a_container_waits_until_the_other_is_healthy(bench: Bench) -> None:
    check = {"command": ["CMD-SHELL", "test -f ready"], "interval": 0.05}
    first = shell(
        "first", "sleep 0.3; echo preparing; touch ready; exec sleep 1000", essential=False, healthCheck=check
    )
    second = shell("second", "echo second", dependsOn=[{"containerName": "first", "condition": "HEALTHY"}])
    await bench.stopped(await bench.start(first, second))
    assert bench.log() == ["preparing", "second"]


async def test_a_dependency_that_is_too_late_fails_the_task(bench: Bench) -> None:
    first = shell("first", "exec sleep 1000", essential=False, startTimeout=0.1)
    second = shell("second", "echo second", dependsOn=[{"containerName": "first", "condition": "COMPLETE"}])
    event = await bench.stopped(await bench.start(first, second))
    assert event.stop_code == "TaskFailedToStart"
    assert "within its start timeout of 0.1 s" in event.reason
    assert not bench.processes()


async def test_changes_of_health_are_reported(bench: Bench) -> None:
    probe = {"command": ["CMD", "/usr/bin/test", "-f", "ok"], "interval": 0.05, "retries": 2, "timeout": 5}
    check = {**probe, "startPeriod": 60}  # the container may be slower to touch its file than two probes
    arn = await bench.start(shell("main", "touch ok; echo up; exec sleep 1000", healthCheck=check))
    await eventually(lambda: [event.health for event in bench.of(TaskHealth, arn)] == ["HEALTHY"], "HEALTHY")
    (bench.folder / "tasks/t1/main/ok").unlink()
    await eventually(lambda: bench.of(TaskHealth, arn)[-1].health == "UNHEALTHY", "UNHEALTHY")
    assert bench.runner.containers(arn)[0].health == "UNHEALTHY"


async def test_a_health_check_that_hangs_fails_and_leaves_no_process(bench: Bench) -> None:
    check = {"command": ["CMD-SHELL", "sleep 999 & sleep 999"], "interval": 0.05, "retries": 1, "timeout": 0.1}
    arn = await bench.start(shell("main", FOREVER, healthCheck=check))
    await eventually(lambda: bench.of(TaskHealth, arn), "a health event")
    assert bench.of(TaskHealth, arn)[0].health == "UNHEALTHY"
    await bench.runner.stop(arn, reason="test")
    await bench.stopped(arn)
    assert not bench.processes()


async def test_stop_sends_sigterm_to_the_main_process_only(bench: Bench) -> None:
    child = "trap 'echo child got it' TERM; while :; do sleep 0.05; done"
    script = f"({child}) & trap 'echo main got it; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    arn = await bench.start(shell("main", script))
    await bench.printed("up")
    await bench.runner.stop(arn, reason="Scaling activity initiated by (deployment ecs-svc/1)")
    event = await bench.stopped(arn)
    assert event.stop_code == "ServiceSchedulerInitiated"
    assert event.containers[0].exit_code == 7
    assert "child got it" not in bench.log(), "SIGTERM went to the whole session"
    assert not bench.processes(), "the child outlived its container"


async def test_a_container_that_ignores_sigterm_is_killed_with_its_children_after_the_stop_timeout(
    bench: Bench,
) -> None:
    own_session = f"{sys.executable} -c 'import os,time; os.setsid(); print(\"apart\", flush=True); time.sleep(1000)'"
    script = f"trap '' TERM; {own_session} & echo up; while :; do sleep 0.05; done"
    arn = await bench.start(shell("main", script, stopTimeout=0.2))
    await bench.printed("apart")
    await bench.runner.stop(arn, reason="enough")
    event = await bench.stopped(arn)
    assert (event.stop_code, event.reason, event.containers[0].exit_code) == ("UserInitiated", "enough", 137)
    assert not bench.processes()


async def test_containers_stop_in_the_reverse_order_of_their_dependencies(bench: Bench) -> None:
    trap = "trap 'sleep 0.1; echo {0} stops; exit 0' TERM; echo {0} up; while :; do sleep 0.02; done"
    base = shell("base", trap.format("base"), essential=False)
    user = shell("user", trap.format("user"), dependsOn=[{"containerName": "base", "condition": "START"}])
    arn = await bench.start(base, user)
    await bench.printed("user up")
    await bench.printed("base up")
    await bench.runner.stop(arn, reason="x")
    await bench.stopped(arn)
    assert bench.log()[-2:] == ["user stops", "base stops"]


async def test_a_task_stopped_during_its_start_starts_no_further_container(bench: Bench) -> None:
    first = shell("first", FOREVER, essential=False)
    second = shell("second", "echo second", dependsOn=[{"containerName": "first", "condition": "COMPLETE"}])
    arn = await bench.start(first, second)
    await bench.printed("up")
    await bench.runner.stop(arn, reason="x")
    event = await bench.stopped(arn)
    assert [state.exit_code for state in event.containers] == [143, None]
    assert "second" not in bench.log()
    assert not bench.of(TaskRunning, arn)


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"name": "a", "image": "unknown/image:1"}, "no program on this machine for the image 'unknown/image:1'"),
        ({"name": "a", "entryPoint": ["/does/not/exist"]}, "CannotStartContainerError: /does/not/exist"),
        (shell("a", "x", secrets=[{"name": "S", "valueFrom": "arn:gone"}]), "unable to retrieve secret arn:gone"),
        (shell("a", "x", dependsOn=[{"containerName": "z", "condition": "START"}]), "which is not in the task"),
        (shell("a", "x", dependsOn=[{"containerName": "a", "condition": "START"}]), "depends on itself"),
    ],
    ids=["unknown image", "no such program", "missing secret", "unknown dependency", "circle"],
)
async def test_a_container_that_cannot_start_has_a_reason(bench: Bench, container: dict[str, Any], reason: str) -> None:
    event = await bench.stopped(await bench.start(container))
    assert event.stop_code == "TaskFailedToStart"
    assert reason in event.reason


async def test_lines_go_to_the_file_and_to_cloudwatch(bench: Bench) -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-stream-prefix": "p"}}
    script = "echo one; echo two >&2; printf 'no newline'"
    await bench.stopped(await bench.start(shell("main", script, logConfiguration=log)))
    assert bench.log() == ["one", "two", "no newline"]
    assert bench.sink.written == [("g", "p/main/t1", line) for line in ("one", "two", "no newline")]


async def test_a_killed_process_is_detected(bench: Bench) -> None:
    arn = await bench.start(shell("main", FOREVER))
    await bench.printed("up")
    pid = bench.runner.containers(arn)[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert (await bench.stopped(arn)).containers[0].exit_code == 137


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from local_ecs.runtime.process import ContainerProcess

async def main():
    script = "while [ ! -e go ]; do sleep 0.05; done; echo line; touch printed; exec sleep 1000"
    process = await ContainerProcess.start(
        ("/bin/sh", "-c", script), environment={"PATH": os.defpath}, home=Path(sys.argv[1]), marks={"M": sys.argv[1]},
        on_lines=print,
    )
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_container_can_write_after_its_daemon_was_killed(tmp_path: Path) -> None:
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, tmp_path, cwd=ROOT, stdout=PIPE)
    container = psutil.Process(int((await daemon.communicate())[0]))
    try:
        (tmp_path / "go").touch()
        await eventually(lambda: not alive(container) or (tmp_path / "printed").exists(), "the line to be written")
        assert (tmp_path / "printed").exists(), "the write failed"
    finally:
        container.kill()


async def test_close_stops_the_scaler_first_and_leaves_no_process(bench: Bench) -> None:
    trap = "trap 'date +%s%N; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    web = await bench.start(shell("main", trap), task_id="w", group="service:web")
    scaler = await bench.start(shell("main", trap), task_id="s", group="service:scaler")
    await bench.printed("up", "web")
    await bench.printed("up", "scaler")
    await bench.runner.close()
    await bench.stopped(web)
    await bench.stopped(scaler)
    assert int(bench.log("scaler")[-1]) < int(bench.log("web")[-1])
    assert not bench.processes()


async def test_sessions_without_marks_are_found(bench: Bench) -> None:
    arn = await bench.start({"name": "main", "entryPoint": ["/usr/bin/env", "-i", "/bin/sleep", "1000"]})
    await eventually(lambda: bench.of(TaskRunning, arn), "TaskRunning")
    pid = bench.runner.containers(arn)[0].pid
    assert pid is not None
    await eventually(lambda: psutil.Process(pid).name() == "sleep", "env to have become sleep")
    assert not bench.processes(), "this test needs a process without marks"
    survivors = await kill_all(SessionRegister(bench.folder / "tasks").trace())
    assert not survivors
    assert (await bench.stopped(arn)).containers[0].exit_code == 137


async def test_a_reused_session_id_is_not_killed(bench: Bench) -> None:
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "1000", start_new_session=True)
    try:
        register = SessionRegister(bench.folder / "tasks")
        register.add("t", "c", stranger.pid)
        file = bench.folder / "tasks/sessions/t.c.json"
        file.write_text(f'{{"pid": {stranger.pid}, "created": 1.0}}')
        assert not register.trace().sessions
    finally:
        stranger.kill()
        await stranger.wait()
