# SPDX-License-Identifier: Apache-2.0
"""Starts the local image's command twice, and uses it as a browser and a DAG author would; writes its times as JSON.

`python -m tools.start_local_image DAGS PORT -- COMMAND` starts COMMAND, which serves the image's ports on this machine,
with the folder DAGS mounted. `tools/build_images` calls it. The words of COMMAND before its `--` run another program in
the same container.
"""

import http.client
import http.cookies
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

STOP_WITHIN_S, PARSED_WITHIN_S = 240.0, 120.0


def main() -> None:
    """Start, edit a DAG, stop, and start again with the same state."""
    dags, port, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]
    first, second = f"{dags.name}_first", f"{dags.name}_second"
    _write(dags, first)
    times: dict[str, float] = {}
    with _started(command, times, "first_start_s"):
        web = _Web(port, command)
        times["parsed_s"] = _until(lambda: first in web.dags(), f"{first} is in Airflow")
        _write(dags, second)
        times["edit_s"] = _until(lambda: second in web.dags(), f"{second} is in Airflow")
    with _started(command, times, "next_start_s"):
        _until(lambda: second in _Web(port, command).dags(), f"{second} is in Airflow after a restart")
    json.dump({name: round(value, 1) for name, value in times.items()}, sys.stdout)


class _Web:
    """The web server at the published port."""

    def __init__(self, port: int, command: list[str]) -> None:
        self._address = f"http://localhost:{port}"
        health = self._get("/api/v2/monitor/health")
        _check(health["metadatabase"]["status"] == "healthy", f"Airflow is not healthy: {health}")
        login = http.client.HTTPConnection("localhost", port)
        login.request("GET", f"/api/v2/auth/login?next={self._address}/dags")  # refused for another web address
        answer = login.getresponse()
        answer.read()
        page = urllib.parse.urljoin(self._address, answer.getheader("Location") or "http://-")
        _check(page.startswith(f"{self._address}/"), f"the login answers {answer.status} and leads to {page}")
        words = ("openmwaa", "login", "--as", "admin", "--no-browser", "--json")
        program = [*command[: command.index("--") + 1], *words]
        printed = json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE, timeout=120).stdout)["url"]
        _check(printed.startswith(f"{self._address}/"), f"the login's address is {printed.partition('#')[0]}")
        form = urllib.parse.urlencode({"token": printed.partition("#")[2]})
        login.request("POST", "/aws_mwaa/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
        cookie = http.cookies.SimpleCookie(login.getresponse().getheader("Set-Cookie"))
        self._token = cookie["_token"].value

    def dags(self) -> set[str]:
        """The ids of the DAGs."""
        return {dag["dag_id"] for dag in self._get("/api/v2/dags", token=self._token)["dags"]}

    def _get(self, path: str, token: str = "") -> Any:
        request = urllib.request.Request(self._address + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@contextmanager
def _started(command: list[str], times: dict[str, float], name: str) -> Iterator[None]:
    """Start the command until it prints how to log in; at the end send SIGTERM, as `docker stop` does."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("Log in: "):
                break
        else:
            sys.exit("the container ended: " + "".join(lines[-25:]))
        times[name] = time.monotonic() - began
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            began = time.monotonic()
            _main_process(process).send_signal(signal.SIGTERM)
            code = process.wait(STOP_WITHIN_S)
            drain.wait(STOP_WITHIN_S)
        times["stop_s"] = time.monotonic() - began
        _check(code == 0, f"the container ended with exit code {code}")
    finally:
        process.kill()


def _main_process(process: subprocess.Popen[str]) -> psutil.Process:
    """The process that is number 1 in a container of Docker."""
    for child in psutil.Process(process.pid).children(recursive=True):
        program, *arguments = child.cmdline() or [""]
        if "--foreground" in arguments and "buildah" not in program:
            return child
    sys.exit("the container's command does not run")


def _write(dags: Path, name: str) -> None:
    text = f"from airflow.sdk import DAG\n\ndag = DAG('{name}', schedule=None)\n"
    (dags / f"{name}.py").write_text(text)


def _until(condition: Callable[[], bool], text: str) -> float:
    """Wait for a condition and return the seconds."""
    began = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - began
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            pass
        _check(time.monotonic() - began < PARSED_WITHIN_S, f"not so after {PARSED_WITHIN_S:g} s: {text}")
        time.sleep(0.2)


def _check(condition: bool, text: str) -> None:
    if not condition:
        sys.exit(text)


if __name__ == "__main__":
    main()
