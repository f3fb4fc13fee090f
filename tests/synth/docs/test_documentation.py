# SPDX-License-Identifier: Apache-2.0
"""Pages made from code are up to date, links lead somewhere, and every documented command is run by a test."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_GENERATED = {"cli.md"}

# What runs each documented command. A command that nothing runs has no place in the documentation.
RUN_ELSEWHERE = {
    r"make demo( KEEP=1)?": "tests/e2e: the command behind it, on real Airflow",
    r"make test": ".ci/run",
    r"make (bench|docs|install|lint|synth)": "tests/synth/docs: each make target names a command that exists",
    r"make contract( AWS=real)?": ".ci/run, as tests/contract; AWS=real was not run, and the page states it",
    r"openmwaa local (up|down|logs|demo)\b.*": "tests/e2e",
    r"openmwaa status\b.*": "tests/unit/operate/test_status.py; tests/e2e",
    r"openmwaa (connections|variables) (import|export)\b.*": "tests/unit/operate/test_stored_values.py",
    r"openmwaa (init|dags|local run)\b.*": "tests/e2e/test_author.py: every one of the tutorial",
    r"openmwaa (login|logout|whoami|api|airflow)\b.*": "tests/e2e/test_author.py, test_iam_login.py",
    r"python -m unittest discover tests": "tests/e2e/test_author.py",
    r"openmwaa scale\b.*": "tests/emulated/test_scale_command.py: every one of the page",
    r"openmwaa explain\b.*": "tests/emulated/test_explain_command.py: every one of the page",
    r"openmwaa (sleep|wake)\b.*": "tests/unit/operate/test_sleep.py; tests/e2e",
    r"openmwaa rotate\b.*": "tests/unit/operate/test_rotation.py; tests/e2e/test_rotate.py",
    r"openmwaa rollout\b.*": "tests/unit/operate/test_rollouts.py: every one of the page",
    r"openmwaa simulate\b.*": "tests/unit/cli/test_simulate.py: every one of the page",
    r"openmwaa whatif\b.*": "tests/unit/cli/test_whatif.py: every one of the page",
    r"openmwaa plan\b.*": "tests/emulated/plan/test_command.py",
    r"openmwaa (deploy|destroy)\b.*": "tools/verify/test_deploy.py; tests/unit/deploy: every one of the pages",
    r"openmwaa requirements check\b.*": "tests/emulated/deploy/test_requirements_check.py",
    r"openmwaa wait\b.*": "tests/unit/operate/test_waiting.py: every one of the pages",
    r"openmwaa synth .* --module .*": "tests/synth/cdktf_app/test_module.py",
    r"openmwaa local celery .*|python send\.py": "tests/emulated/test_plain_celery_page.py",
    r"openmwaa-scaler (replay .*|public-key|--dry-run)": "tests/emulated/scaler/test_process.py",
    r"pip install '\.\[local,worker\]' 'celery\[redis,sqs\]'": "tests/unit/packaging/test_extras.py: the extras exist",
    r"docker run .* openmwaa-local": "tools/build_images, with buildah in place of Docker, and the page states it",
    r"docker (build|push|login)\b.*": "not run: no Docker in the tests, and the page states it",
    r"aws mwaa .*": "tests/emulated/openmwaa_runtime/test_mwaa_clients.py, with version 1 of the AWS CLI",
    r"openmwaa credentials\b.*": "tests/emulated/operate/test_credentials_command.py",
    r"terraform (init|apply|destroy)\b.*": "tests/e2e, through `openmwaa local up`; tests/emulated/test_bootstrap.py",
    r"git clone .*": "a clone is where CI begins",
    r"(cd|export) .*": "a shell's own command",
}


def commands(page: Path) -> list[str]:
    """Return every command of a page's `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


DOCUMENTED = sorted({command for page in PAGES if page.name not in _GENERATED for command in commands(page)})


@pytest.mark.parametrize("command", DOCUMENTED)
def test_every_documented_command_is_run_by_a_test(command: str, tmp_path: Path) -> None:
    if any(re.fullmatch(pattern, command) for pattern in RUN_ELSEWHERE):
        return
    assert command.startswith("openmwaa "), f"no test runs `{command}`"
    arguments = command.removeprefix("openmwaa ").replace(" --out terraform/", "").split()
    if arguments[0] == "synth":
        arguments += ["--out", str(tmp_path)]
    program = [sys.executable, "-c", "from openmwaa.cli import main; main()"]
    done = subprocess.run([*program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"`{command}` ends with {done.returncode}: {done.stderr}"


def test_every_make_target_that_is_documented_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documented = {match for page in PAGES for match in re.findall(r"`?make ([a-z]+)\b", "\n".join(commands(page)))}
    assert documented <= targets, f"documented, but not in the Makefile: {documented - targets}"


def test_links_lead_to_pages_that_exist() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    ]
    assert not broken, "links that lead nowhere:\n" + "\n".join(broken)


def test_pages_made_from_code_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "tools" / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.out_of_date() == [], "run `make docs`"
