# SPDX-License-Identifier: Apache-2.0
"""The archive of the requirements, built by uv from small wheels on this machine."""

import os
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from openmwaa.local.install import venvs
from openmwaa_runtime.artefacts import build, requirements
from openmwaa_runtime.artefacts.objects import ArtefactError, Bucket
from openmwaa_runtime.artefacts.resolver import own_architecture
from openmwaa_runtime.database import Login
from openmwaa_runtime.errors import StartupError
from tests.support.package_index import write_index, write_wheel

pytestmark = pytest.mark.emulated


class FakeS3:
    def __init__(self, file: Path) -> None:
        self.file = file

    def get_object(self, **_: object) -> dict[str, object]:
        return {"Body": BytesIO(self.file.read_bytes())}


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file plugins.zip with a wheel; the index has the package `helper`."""
    wheel = write_wheel(tmp_path / "wheels", "private", "1.0")
    with ZipFile(tmp_path / "plugins.zip", "w") as archive:
        archive.write(wheel, wheel.name)
    write_wheel(tmp_path / "files", "helper", "1.0")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", write_index(tmp_path / "simple", tmp_path / "files"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "installed_airflow", lambda: "3.3.2")
    monkeypatch.setattr(requirements, "installed_pins", list)
    return tmp_path / "plugins.zip"


def built(text: str, plugins: Path) -> tuple[set[str], list[str]]:
    """Build; return the modules of the archive, and the log."""
    folder = Path(tempfile.mkdtemp(dir=plugins.parent))
    artefact = {"OPENMWAA_PLUGINS_KEY": "plugins.zip", "OPENMWAA_PLUGINS_VERSION": "1"}
    environ = {**os.environ, "OPENMWAA_DAG_BUCKET": "b", "OPENMWAA_UV": venvs.uv_program(), **artefact}
    log: list[str] = []
    bucket = Bucket(environ, client=FakeS3(plugins))
    file = build.Builder(bucket, text, folder, log.append).build(own_architecture(), folder / "own")
    with tarfile.open(file) as archive:
        return {Path(name).name for name in archive.getnames() if name.endswith(".py")}, log


WHEEL = "/usr/local/airflow/plugins/private-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        (WHEEL, {"private.py"}),
        (f"{WHEEL}\nhelper", {"private.py", "helper.py"}),
        (f"private @ file://{WHEEL}", {"private.py"}),
        ("# no requirement", set()),
    ],
    ids=["a wheel of plugins.zip alone", "with another", "named", "none"],
)
def test_every_form_of_a_requirement_is_installed(text: str, modules: set[str], plugins: Path) -> None:
    found, log = built(text, plugins)
    assert found == modules
    assert len(log) == len(modules) + 1, "a line for each package, and the size"


def test_the_hash_of_a_requirement_is_checked(tmp_path: Path, plugins: Path) -> None:
    digest = requirements.sha256(next((tmp_path / "files").iterdir()))
    assert built(f"helper==1.0 --hash=sha256:{digest}", plugins)[0] == {"helper.py"}
    with pytest.raises(StartupError, match=r"(?i)hash mismatch"):
        built(f"helper==1.0 \\\n  --hash=sha256:{'0' * 64}", plugins)


def installed(archive: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install this archive, whose hash is in the database."""
    (folder / "archive").write_bytes(archive)
    bucket = Bucket({"OPENMWAA_DAG_BUCKET": "b", "OPENMWAA_ENVIRONMENT": "e"}, client=FakeS3(folder / "archive"))
    digest = requirements.sha256(folder / "archive")
    monkeypatch.setattr(requirements, "wait_until_built", lambda *_, **__: digest)
    login = Login("h", 5432, "disable", "airflow", "airflow", "p")
    return requirements.install(bucket, "helper", login, folder, log=lambda _line: None)


def test_every_file_of_the_archive_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in ("helper.py", "folder/módulo with blanks.py", "-option.py"):
            (tmp_path / "file").write_text(name)
            archive.add(tmp_path / "file", name)
    packages = installed(content.getvalue(), tmp_path, monkeypatch)
    files = {str(file.relative_to(packages)): file.read_text() for file in packages.rglob("*.py")}
    assert files == {name: name for name in ("helper.py", "folder/módulo with blanks.py", "-option.py")}
    assert not (tmp_path / "requirements.tar.gz").exists()


def test_a_damaged_archive_is_an_error_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtefactError, match=r"s3://b/openmwaa/e/requirements/.*cannot be unpacked: .*gzip"):
        installed(b"no archive", tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArtefactError, match=r"cannot be unpacked: .*'tar'"):
        installed(b"no archive", tmp_path, monkeypatch)
