# SPDX-License-Identifier: Apache-2.0
"""An author's folder as the source of DAGs: edits, deletions, temporary files, links, files that cannot be read."""

import os
from pathlib import Path

import pytest

from openmwaa_runtime.sync_dags.folder import VersionedFolder
from openmwaa_runtime.sync_dags.local_folder import LocalFolder, is_ignored
from openmwaa_runtime.sync_dags.main import Syncer
from openmwaa_runtime.sync_dags.manifest import SourceObject
from openmwaa_runtime.sync_dags.source import SwitchedSource
from tests.unit.openmwaa_runtime.fake_bucket import FakeBucket


class Author:
    """A working copy, and the folder that its DAGs are synced to."""

    def __init__(self, root: Path) -> None:
        self.dags = root / "dags"
        self.dags.mkdir()
        self.synced = root / "synced"
        self.logged: list[str] = []
        folder = VersionedFolder(self.synced)
        folder.recover()
        self.source = LocalFolder(self.dags, "dags")
        self.syncer = Syncer(self.source, "dags", folder, log=self.logged.append)
        self.now = 1_000.0

    def sync(self) -> bool:
        self.now += 0.5
        return self.syncer.sync(self.now)

    def files(self) -> dict[str, str]:
        """The files that Airflow sees."""
        current = self.synced / "current"
        return {str(path.relative_to(current)): path.read_text() for path in current.rglob("*") if path.is_file()}

    def left_out(self) -> dict[str, str]:
        return {key: found.reason for key, found in self.syncer._left_out.items()}


@pytest.fixture
def author(tmp_path: Path) -> Author:
    author = Author(tmp_path)
    (author.dags / "one.py").write_text("1")
    (author.dags / "sub").mkdir()
    (author.dags / "sub" / "two.py").write_text("2")
    (author.dags / ".airflowignore").write_text("sub")
    author.sync()
    return author


def test_an_edit_a_new_file_and_a_deletion_arrive_together(author: Author) -> None:
    assert author.files() == {"one.py": "1", "sub/two.py": "2", ".airflowignore": "sub"}
    version = (author.synced / "current").resolve()
    (author.dags / "one.py").write_text("3")  # the same size
    (author.dags / "new.py").write_text("new")
    (author.dags / "sub" / "two.py").unlink()
    assert author.sync()
    assert author.files() == {"one.py": "3", "new.py": "new", ".airflowignore": "sub"}
    assert (version / "one.py").read_text() == "1", "a running task's version changed under it"


def test_without_an_edit_nothing_changes(author: Author) -> None:
    assert not author.sync()


def test_an_editor_that_replaces_the_file_by_a_rename_is_seen(author: Author) -> None:
    (author.dags / "one.py.tmp").write_text("renamed")
    assert not author.sync(), "the temporary file is a version of its own"
    (author.dags / "one.py.tmp").rename(author.dags / "one.py")
    assert author.sync()
    assert author.files()["one.py"] == "renamed"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        *((name, False) for name in (".one.py.swp", "one.py~", "4913", "#one.py#", ".#one.py", "one.py___jb_tmp___")),
        *((name, False) for name in ("one.tmp", "one.py.crswap", "one.pyc", ".DS_Store", ".goutputstream-AB12")),
        *((name, True) for name in (".git", ".venv", "__pycache__", ".openmwaa", "node_modules")),
    ],
)
def test_temporary_files_and_folders_of_tools_are_ignored(name: str, folder: bool) -> None:
    assert is_ignored(name, folder=folder)


@pytest.mark.parametrize("name", [".airflowignore", "one.py", "template.sql", ".env", "data.json", "tmp.py", "a.swift"])
def test_files_of_dags_are_not_ignored(name: str) -> None:
    assert not is_ignored(name, folder=False)


def test_a_broken_link_is_reported_and_the_other_files_arrive(author: Author) -> None:
    (author.dags / "broken.py").symlink_to("nowhere.py")
    (author.dags / ".#lock.py").symlink_to("author@host.1234")  # Emacs
    (author.dags / "one.py").write_text("edited")
    assert author.sync()
    assert author.files()["one.py"] == "edited"
    assert author.left_out() == {"dags/broken.py": "a broken symbolic link"}
    (author.dags / "nowhere.py").write_text("now here")
    assert author.sync()
    assert author.files()["broken.py"] == "now here"
    assert author.left_out() == {}


def test_a_file_that_cannot_be_read_keeps_its_previous_content(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    (author.dags / "one.py").write_text("secret")
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *args: object, **more: object) -> object:
        if path.name == "one.py" and path.parent == author.dags:
            raise PermissionError(13, "Permission denied")
        return opened(path, mode, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    author.sync()
    monkeypatch.undo()
    assert author.left_out() == {"dags/one.py": "Permission denied"}
    assert author.files()["one.py"] == "1"


def test_a_link_to_a_folder_is_followed_once(author: Author, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "common.py").write_text("common")
    (author.dags / "lib").symlink_to(shared)
    (author.dags / "sub" / "loop").symlink_to(author.dags)
    author.sync()
    assert author.files()["lib/common.py"] == "common"
    assert not any("loop" in path for path in author.files())


def test_a_pipe_is_left_out(author: Author) -> None:
    os.mkfifo(author.dags / "pipe.py")
    author.sync()
    assert author.left_out() == {"dags/pipe.py": "no regular file"}


def test_a_folder_that_is_gone_keeps_the_dags(author: Author) -> None:
    author.dags.rename(author.dags.with_name("moved"))
    with pytest.raises(FileNotFoundError):
        author.sync()
    assert author.files()["one.py"] == "1"


def test_a_file_that_changes_while_it_is_read_is_never_mixed(author: Author, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    source = next(found for found in author.source.list() if found.key == "dags/one.py")
    (author.dags / "one.py").write_text("longer than before")
    found = author.source.fetch([(source, target)])[source]
    assert isinstance(found, SourceObject)
    assert found.size == len(target.read_bytes()) == len("longer than before")


def test_the_link_switches_between_folder_and_bucket(tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "mine.py").write_text("mine")
    link = tmp_path / "link"
    source = SwitchedSource(link, LocalFolder(link, "dags"), FakeBucket({"dags/theirs.py": b"theirs"}))
    assert ([found.key for found in source.list()], source.is_folder) == (["dags/theirs.py"], False)
    link.symlink_to(folder)
    assert ([found.key for found in source.list()], source.is_folder) == (["dags/mine.py"], True)
