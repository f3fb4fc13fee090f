# SPDX-License-Identifier: Apache-2.0
"""`openmwaa requirements check` with uv, against an index of small wheels on this machine."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from openmwaa.deploy.requirements import CheckResult, RequirementsCheckError, check
from openmwaa.local.install import venvs
from tests.support.command_line import openmwaa
from tests.support.environments import LEAST_YAML
from tests.support.package_index import write_index, write_source, write_wheel

pytestmark = pytest.mark.emulated

ARM = "cp312-cp312-manylinux_2_28_aarch64"
X86 = "cp312-cp312-manylinux_2_28_x86_64"
LOCK = r"""airflow==3.3.2 \
    --hash=sha256:00
    # via nothing
base==2.0 ; python_version > '3' \
    --hash=sha256:01
"""
CONSTRAINTS = "https://raw.githubusercontent.com/apache/airflow/constraints-3.3.2/constraints-3.12.txt"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index and uv's cache."""
    folder = tmp_path_factory.mktemp("index")
    files = folder / "files"
    for name, version, requires in (
        ("airflow", "3.3.2", ["base>=2"]),
        ("airflow", "2.11.2", ["base<2"]),
        ("base", "1.0", []),
        ("base", "2.0", []),
        ("base", "3.0", []),
        ("reader", "1.0", ["base<2"]),
        ("reader", "1.5", ["base==2.*", "helper"]),
        ("reader", "2.0", ["base>=3"]),
        ("helper", "1.0", []),
        ("helper", "2.0", []),
        ("writer", "1.0", ["helper<2"]),
        ("old", "1.0", ["base<2"]),
    ):
        write_wheel(files, name, version, requires=requires)
    write_wheel(files, "fast", "1.0", tag=X86)
    write_wheel(files, "fast", "0.9", tag=X86)
    write_wheel(files, "fast", "0.9", tag=ARM)
    write_source(files, "fast", "1.0")
    (folder / "lock.txt").write_text(LOCK)
    write_index(folder / "simple", files)
    return folder


@pytest.fixture(autouse=True)
def index(shared: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An index; the image has airflow 3.3.2 and base 2.0."""
    monkeypatch.setattr(venvs, "lock_file", lambda _name: shared / "lock.txt")
    url = (shared / "simple").as_uri()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("UV_CACHE_DIR", str(shared / "cache"))
    return url


def checked(*lines: str, plugins: Path | None = None) -> CheckResult:
    return check("\n".join(lines), airflow_version="3.3.2", architectures=["ARM64"], plugins=plugins)


def test_a_file_that_fits_adds_packages_and_keeps_those_of_the_image() -> None:
    result = checked("reader", "Base", "# nothing else")
    assert result.packages == {"ARM64": {"reader": "1.5", "helper": "2.0"}}
    assert [*result.sentences()] == ["Fits Airflow 3.3.2, Python 3.12, ARM64: 2 packages beside the 2 of the image."]


@pytest.mark.parametrize("lines", [["helper\\", "  ==1.0"], [f"-c {CONSTRAINTS}", "helper==1.0"]])
def test_the_forms_of_pip_are_read(lines: list[str]) -> None:
    assert checked(*lines).packages == {"ARM64": {"helper": "1.0"}}


def conflicts(*lines: str) -> list[tuple[list[int], tuple[str, ...], Mapping[int, str]]]:
    found = checked(*lines).conflicts["ARM64"]
    return [([line.line for line in conflict.requirements], conflict.pins, conflict.fixes) for conflict in found]


def test_a_pin_that_the_image_has_in_another_version_is_named_with_the_version_of_the_image() -> None:
    assert conflicts("helper", "base[extra]==1.0 ; python_version > '3'") == [
        ([2], ("base==2.0",), {2: "base[extra]==2.0 ; python_version > '3'"})
    ]


def test_airflow_itself_is_never_changed() -> None:
    assert conflicts("airflow==2.11.2") == [([1], ("airflow==3.3.2",), {1: "airflow==3.3.2"})]


@pytest.mark.parametrize("wrong", ["reader==1.0", "reader>=2"])
def test_a_package_that_needs_another_version_of_the_image_gets_the_version_that_fits(wrong: str) -> None:
    assert conflicts("helper", wrong) == [([2], ("base==2.0",), {2: "reader==1.5"})]


def test_of_two_requirements_that_exclude_each_other_each_is_fixed() -> None:
    assert conflicts("writer", "reader", "helper==2.0") == [([1, 3], (), {3: "helper==1.0"})]


def test_every_conflict_is_found() -> None:
    assert conflicts("base==1.0", "reader", "old==1.0", "missing==1") == [
        ([1], ("base==2.0",), {1: "base==2.0"}),
        ([3], ("base==2.0",), {}),
        ([4], (), {}),
    ]


def test_the_sentences_name_the_pair_and_the_fix(index: str) -> None:
    found = [*checked("base==1.0", "missing==1").sentences()]
    assert found[:4] == [
        "Does not fit Airflow 3.3.2, Python 3.12, ARM64:",
        "- `base==1.0` (line 1) and `base==2.0` of the image exclude each other.",
        "  To fix it, write `base==2.0` in line 1.",
        "- `missing==1` (line 2) cannot be installed:",
    ]
    assert "missing was not found" in " ".join(found[4:]), "uv's answer"


def test_a_file_with_another_hash_is_refused(shared: Path) -> None:
    digest = sha256((shared / "files/helper-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert checked(f"helper==1.0 --hash=sha256:{digest}").fits
    (conflict,) = checked("base", f"helper==2.0 \\\n  --hash=sha256:{digest}").conflicts["ARM64"]
    assert [*conflict.sentences()] == [
        "`helper==2.0` (line 2) cannot be installed:",
        "  no file of version 2.0 for ARM64 has one of its hashes",
    ]


def test_a_package_without_a_wheel_for_the_architecture_is_noted() -> None:
    assert checked("fast==1.0", "helper").notes == [
        "fast==1.0 has no wheel for Python 3.12 on ARM64: it is built from its source, and the image has no compiler"
    ]
    assert not checked("fast==0.9").notes


def test_an_index_that_does_not_answer_is_no_conflict_and_its_password_is_not_shown() -> None:
    with pytest.raises(RequirementsCheckError) as caught:
        checked("--extra-index-url http://joe:hunter2@127.0.0.1:9/simple", "helper")
    assert "hunter2" not in str(caught.value)


def test_without_an_index_the_plugins_folder_has_the_packages(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    write_wheel(plugins, "private", "1.0", requires=["base>=2", "airflow"])
    lines = ["--no-index", "--find-links /usr/local/airflow/plugins", "private"]
    assert checked(*lines, plugins=plugins).packages == {"ARM64": {"private": "1.0"}}
    (conflict,) = checked(*lines, "base<2", plugins=plugins).conflicts["ARM64"]
    assert [requirement.text for requirement in conflict.requirements] == ["base<2"]


def test_a_private_index_comes_first_and_the_other_one_has_the_rest(tmp_path: Path) -> None:
    write_wheel(tmp_path / "private", "helper", "0.5")
    write_wheel(tmp_path / "private", "base", "1.0")
    url = write_index(tmp_path / "private-simple", tmp_path / "private")
    result = checked(f"--extra-index-url {url}", "helper", "reader")
    assert result.packages == {"ARM64": {"helper": "0.5", "reader": "1.5"}}
    assert checked(f"--index-url {url}", "helper").packages == {"ARM64": {"helper": "0.5"}}, "not that of PIP_INDEX_URL"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def command(*words: str, folder: Path) -> tuple[int, str, str]:
    done = openmwaa("requirements", "check", *words, folder=folder, environment=dict(os.environ))
    return done.returncode, done.stdout, done.stderr


def test_the_command_reads_the_architectures_of_the_environment(folder: Path) -> None:
    (folder / "requirements.txt").write_text("fast==1.0\n")
    (folder / "environment.yaml").write_text(LEAST_YAML + "architecture: X86_64\n")
    code, output, _ = command("--json", folder=folder)
    found = json.loads(output)
    assert (code, found["packages"], found["notes"]) == (0, {"X86_64": {"fast": "1.0"}}, [])


def test_the_command_ends_with_2_for_a_conflict_and_with_1_for_an_error(folder: Path) -> None:
    (folder / "a.txt").write_text("base[extra]==1.0\n")
    (folder / "b.txt").write_text("-r other.txt\n")
    code, output, errors = command("a.txt", folder=folder)
    assert (code, output) == (2, "")
    assert "`base[extra]==1.0` (line 1) and `base==2.0` of the image" in errors
    code, _, errors = command("b.txt", folder=folder)
    assert (code, errors) == (1, "line 1: --requirement is not available; write the requirements into this file\n")
    assert command("c.txt", folder=folder)[0] == 1


def test_the_command_unpacks_plugins(folder: Path) -> None:
    wheel = write_wheel(folder, "private", "1.0")
    with ZipFile(folder / "plugins.zip", "w") as archive:
        archive.write(wheel, f"wheels/{wheel.name}")
    (folder / "requirements.txt").write_text(f"/usr/local/airflow/plugins/wheels/{wheel.name}\n")
    code, output, _ = command("--plugins", "plugins.zip", folder=folder)
    assert (code, output) == (0, "Fits Airflow 3.3.2, Python 3.12, ARM64: 1 packages beside the 2 of the image.\n")
