# SPDX-License-Identifier: Apache-2.0
"""What the wheel holds: everything that is needed where there is no checkout, and nothing else."""

from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = {"cdktf_app", "local_ecs", "simulation", "openmwaa", "openmwaa_runtime", "scaler", "worker_agent"}
IMAGES = "openmwaa/images/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """The wheel of this checkout, built in this process and without a network."""
    backend = pytest.importorskip(
        "hatchling.builders.wheel", reason="the build backend is not installed: make bootstrap"
    )
    (built,) = backend.WheelBuilder(str(REPOSITORY)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    with ZipFile(built) as file:
        yield file


def sources(folder: Path) -> set[str]:
    """The files of a package, as paths in the wheel."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.parent.name != "__pycache__")
    return {file.relative_to(folder.parent).as_posix() for file in files}


def test_it_holds_every_file_of_the_packages_and_of_the_images_and_nothing_else(wheel: ZipFile) -> None:
    folders = [REPOSITORY / name for name in PACKAGES - {"openmwaa_runtime"}]
    folders.append(REPOSITORY / "images/airflow/openmwaa_runtime")
    airflow_locks = (REPOSITORY / "images/airflow/requirements").glob("*.txt")
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    images = {name for name in held if name.startswith(IMAGES)}
    assert held - images == set().union(*map(sources, folders))
    others = {"emulator.txt", "airflow/Dockerfile", "scaler/Dockerfile", "scaler/requirements.txt"}
    assert images == {IMAGES + name for name in {*others, *(f"airflow/requirements/{f.name}" for f in airflow_locks)}}


@pytest.mark.parametrize(
    "name",
    [
        "cdktf_app/lazy_provider.cjs",
        "openmwaa/local/demo/burst_dag.py",
        *(f"openmwaa/images/airflow/requirements/{row.lock}.txt" for row in AIRFLOW_VERSIONS.values()),
        "openmwaa/starter/dags/.airflowignore",
        "openmwaa/starter/environment.yaml",
        "openmwaa_runtime/__main__.py",
        "worker_agent/wire.schema.json",
        *(f"{package}/py.typed" for package in sorted(PACKAGES)),
    ],
)
def test_what_is_read_at_run_time_is_in_it(wheel: ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_it_has_its_licence_and_its_commands(wheel: ZipFile) -> None:
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert wheel.read(f"{folder}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
    commands = wheel.read(f"{folder}/entry_points.txt").decode()
    assert "openmwaa = openmwaa.cli:main" in commands
    assert "openmwaa-scaler = scaler.main:main" in commands
