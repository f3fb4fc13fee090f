# SPDX-License-Identifier: Apache-2.0
"""The DAG syncer: its folder follows what is written, changed and removed in a bucket."""

from pathlib import Path
from typing import Any

import pytest

from openmwaa_runtime.sync_dags.bucket import S3Bucket
from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.main import Syncer
from tests.contract.aws_services.conftest import Emulator

pytestmark = [pytest.mark.emulated]


@pytest.fixture
def s3(emulator: Emulator, name: str) -> Any:
    client = emulator.client("s3")
    client.create_bucket(Bucket=name)
    return client


@pytest.fixture
def folder(tmp_path: Path) -> VersionedFolder:
    found = VersionedFolder(tmp_path)
    found.recover()
    return found


def files(folder: VersionedFolder) -> dict[str, str]:
    root = folder.root / "current"
    return {
        path.relative_to(root.resolve()).as_posix(): path.read_text()
        for path in root.resolve().rglob("*")
        if path.is_file()
    }


def test_the_folder_follows_the_bucket(s3: Any, name: str, folder: VersionedFolder) -> None:
    for key, text in (("dags/", ""), ("dags/a.py", "1"), ("dags/team é/b.py", "2"), ("plugins/c.py", "3")):
        s3.put_object(Bucket=name, Key=key, Body=text.encode())
    syncer = Syncer(S3Bucket(name, "dags", client=s3), "dags", folder)
    assert syncer.sync(1.0)
    assert files(folder) == {"a.py": "1", "team é/b.py": "2"}
    assert not syncer.sync(2.0), "the same content is a new version"
    s3.put_object(Bucket=name, Key="dags/a.py", Body=b"another")
    s3.delete_object(Bucket=name, Key="dags/team é/b.py")
    assert syncer.sync(3.0)
    assert files(folder) == {"a.py": "another"}


def test_every_page_of_a_listing_is_read(s3: Any, name: str, folder: VersionedFolder) -> None:
    for number in range(5):
        s3.put_object(Bucket=name, Key=f"{number}.py", Body=b"")
    pages: list[str | None] = []

    def two_a_page(params: dict[str, Any], **_: object) -> None:
        pages.append(params.get("ContinuationToken"))
        params["MaxKeys"] = 2

    s3.meta.events.register("provide-client-params.s3.ListObjectsV2", two_a_page)
    assert Syncer(S3Bucket(name, "", client=s3), "", folder).sync(1.0)
    assert len(pages) == 3
    assert set(files(folder)) == {f"{number}.py" for number in range(5)}
