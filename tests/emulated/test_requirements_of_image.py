# SPDX-License-Identifier: Apache-2.0
"""Requirements are built once into the bucket, and unpacked where nothing of the image is replaced.

In Airflow's virtual environment, on an emulated bucket, a PostgreSQL server and an index of small wheels.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import asyncpg
import boto3
import pytest

from openmwaa.local.child_environment import LOCAL_AWS
from openmwaa.local.install import venvs
from openmwaa_runtime.artefacts.resolver import own_architecture
from tests.support.airflow import install_airflow
from tests.support.package_index import write_wheel
from tests.support.postgres import Server, running_postgres
from tests.support.prepared_cluster import PREPARED_WITHIN_S, PreparedCluster, new_cluster

pytestmark = pytest.mark.emulated

INSTALL = """
import json, os, subprocess, sys
from pathlib import Path
from openmwaa_runtime.artefacts.install import install
from openmwaa_runtime.components import login_for
from openmwaa_runtime.errors import StartupError
component, home = sys.argv[1], os.environ["AIRFLOW_HOME"]
try:
    found = install(component, dict(os.environ), login_for(component, os.environ), "task")
except StartupError as error:
    print(error)
    sys.exit(error.exit_status)
seen = "import json, sys, reader, certifi; print(json.dumps([reader.__file__, certifi.__file__, sys.path]))"
done = subprocess.run([sys.executable, "-c", seen], env=found, capture_output=True, text=True, check=True)
plugins = found.get("AIRFLOW__CORE__PLUGINS_FOLDER")
out = subprocess.run(["reader"], env=found, capture_output=True, text=True).stdout
greeting = found.get("GREETING")
print(json.dumps({"seen": json.loads(done.stdout), "plugins": plugins, "greeting": greeting, "out": out}))
"""


class World:
    """A bucket and an index beside a prepared database."""

    def __init__(self, cluster: PreparedCluster, s3: Any, endpoint: str, folder: Path) -> None:
        self.cluster, self.s3, self.folder = cluster, s3, folder
        self.bucket = f"artefacts-{folder.name.replace('_', '-').lower()}"[:60].rstrip("-")
        s3.create_bucket(Bucket=self.bucket)
        s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.files = folder / "files"
        for name, version, requires in (
            ("reader", "1.0", ["certifi", "helper"]),
            ("helper", "1.0", []),
            ("certifi", "9999", []),
            ("old", "1.0", ["certifi<1"]),
        ):
            code = "def main():\n    print('hello')\n"
            write_wheel(self.files, name, version, requires=requires, code=code)
        self.variables = {
            **LOCAL_AWS,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "OPENMWAA_DAG_BUCKET": self.bucket,
            "OPENMWAA_ARCHITECTURES": own_architecture(),
            "OPENMWAA_UV": venvs.uv_program(),
            "PIP_FIND_LINKS": str(self.files),
            "UV_CACHE_DIR": str(folder / "cache"),
        }

    def upload(self, kind: str, key: str, content: bytes) -> None:
        version = self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]
        self.variables |= {f"OPENMWAA_{kind}_KEY": key, f"OPENMWAA_{kind}_VERSION": version}

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        python = str(self.cluster.airflow / "bin" / "python")
        environ = {**self.cluster.environ(), **self.variables, **more}
        return subprocess.Popen(
            [python, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def prepare(self, **more: str) -> tuple[int, str]:
        return ended(self.start("-m", "openmwaa_runtime", "prepare-artefacts", **more))

    def install(self, component: str) -> tuple[int, Any]:
        home = self.folder / component
        home.mkdir(exist_ok=True)
        code, output = ended(self.start("-c", INSTALL, component, AIRFLOW_HOME=str(home)))
        return code, output if code else json.loads(output.splitlines()[-1])

    @property
    def archives(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="openmwaa/demo/requirements/")
        return [entry["Key"] for entry in found.get("Contents", ())]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=PREPARED_WITHIN_S)
    return process.returncode, output


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as found:
        yield found


@pytest.fixture
async def world(server: Server, ministack: str, tmp_path: Path) -> AsyncIterator[World]:
    s3 = boto3.client(
        "s3",
        endpoint_url=ministack,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    async with new_cluster(server, install_airflow()) as cluster:
        status, output = cluster.prepare()
        assert status == 0, output
        made = World(cluster, s3, ministack, tmp_path)
        made.upload("REQUIREMENTS", "requirements.txt", b"--no-index\nreader\n")
        yield made


async def test_requirements_are_built_once_and_every_component_gets_them(world: World) -> None:
    code, output = world.prepare()
    assert (code, "helper==1.0\nreader==1.0\n" in output, "certifi" in output) == (0, True, False), output
    assert world.prepare() == (0, f"{own_architecture()}: s3://{world.bucket}/{world.archives[0]} exists\n")
    for component in ("worker", "scheduler"):
        code, found = world.install(component)
        assert code == 0, found
        reader, certifi, path = found["seen"]
        packages = str(world.folder / component / "requirements")
        assert (reader, found["out"]) == (f"{packages}/reader.py", "hello\n")
        # A package of the image stays, although the index has a newer one: the folder comes last.
        assert (Path(certifi).parts[-3], path[-1]) == ("site-packages", packages)


async def test_plugins_and_startup_script_are_installed_too(world: World) -> None:
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr("one.py", "")
        for wheel in world.files.iterdir():
            archive.write(wheel, wheel.name)
    world.upload("PLUGINS", "more/plugins.zip", content.getvalue())
    world.upload("STARTUP_SCRIPT", "startup.sh", b"export GREETING=hello TOKEN=reader\n")
    # The script's variables are for the requirements as well, and plugins.zip is an index, as in MWAA's guide.
    world.upload("REQUIREMENTS", "r.txt", b"--no-index\n--find-links /usr/local/airflow/plugins\n${TOKEN}\n")
    code, output = world.prepare(PIP_FIND_LINKS="")
    assert code == 0, output
    code, found = world.install("worker")
    assert (code, found["greeting"]) == (0, "hello")
    assert (Path(found["plugins"]) / "one.py").is_file()


async def test_an_archive_that_was_changed_is_not_installed_and_is_built_again(world: World) -> None:
    world.prepare()
    (key,) = world.archives
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"another archive")
    code, output = world.install("worker")
    assert (code, "has changed since it was built" in output) == (3, True), output
    assert world.prepare()[0] == 0
    assert world.install("worker")[0] == 0


@pytest.mark.parametrize(("role", "database"), [("airflow", "airflow"), ("celery_results", "celery")])
async def test_the_roles_of_components_cannot_write_the_hash(world: World, role: str, database: str) -> None:
    world.prepare()
    assert await world.cluster.query(role, database, "SELECT count(*) FROM openmwaa.requirements") == 1
    for statement in ("UPDATE openmwaa.requirements SET sha256 = '0'", "DROP TABLE openmwaa.requirements"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await world.cluster.query(role, database, statement)


async def test_a_failure_ends_the_components_that_wait(world: World) -> None:
    world.upload("REQUIREMENTS", "requirements.txt", b"--no-index\nold\n")
    waiting = world.start("-c", INSTALL, "worker", AIRFLOW_HOME=str(world.folder))
    assert waiting.stdout is not None
    assert "waiting for the requirements" in waiting.stdout.readline()
    code, output = world.prepare()
    assert (code, "certifi<1" in output) == (4, True), output
    code, output = ended(waiting)
    assert (code, "See the log stream requirements_install" in output) == (3, True), output
    # A component that starts beside the next attempt waits for its result.
    world.upload("REQUIREMENTS", "requirements.txt", b"--no-index\nreader\n")
    assert world.prepare()[0] == 0
    assert world.install("worker")[0] == 0


async def test_two_builds_at_once_build_once(world: World) -> None:
    both = [world.start("-m", "openmwaa_runtime", "prepare-artefacts") for _ in range(2)]
    codes, outputs = zip(*map(ended, both), strict=True)
    assert codes == (0, 0), outputs
    assert sorted("exists" in output for output in outputs) == [False, True]


async def test_another_architecture_gets_its_own_archive(world: World) -> None:
    for tag in ("aarch64", "x86_64"):
        for python in ("cp311", "cp312", "cp313"):
            write_wheel(
                world.files, "fast", "1.0", tag=f"{python}-{python}-manylinux_2_28_{tag}", code=f"ON = {tag!r}\n"
            )
    world.upload("REQUIREMENTS", "requirements.txt", b"--no-index\nfast\n")
    code, output = world.prepare(OPENMWAA_ARCHITECTURES="ARM64,X86_64")
    assert (code, len(world.archives)) == (0, 2), output
    names = {own_architecture(), "ARM64", "X86_64"}
    assert {name for name in names if any(f"-{name.lower()}-" in key for key in world.archives)} == names
