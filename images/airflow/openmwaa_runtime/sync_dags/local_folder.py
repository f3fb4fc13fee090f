# SPDX-License-Identifier: Apache-2.0
"""A folder of this machine as the source of DAGs: the working copy of an author.

It is read again every half second, without the kernel's notifications: those do not cross the mount of a container on
macOS or Windows, and a listing of 1000 files takes 10 ms.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from openmwaa_runtime.sync_dags.manifest import SourceObject

_TRIES = 3
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv"})
# Names that Vim, Emacs, VS Code, PyCharm and file managers use while a file is written.
_TEMPORARY = re.compile(
    r"\.#.*|#.*#|.*~|\..*\.sw[a-z]|4913|.*___jb_(?:tmp|old)___|.*\.(?:tmp|temp|crswap|swp|pyc|part)"
    r"|\.goutputstream-.*|\.DS_Store"
)


def is_ignored(name: str, *, folder: bool) -> bool:
    """Whether a file or folder of this name is no DAG: a temporary file, or a folder of a tool such as `.git`."""
    if folder:
        return name.startswith(".") or name in _IGNORED_FOLDERS
    return _TEMPORARY.fullmatch(name) is not None


class LocalFolder:
    """A folder with its subfolders; symbolic links are followed. The keys are under `prefix`, as in a bucket."""

    commit = None

    def __init__(self, root: Path, prefix: str = "") -> None:
        self._root = root
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def list(self) -> Iterator[SourceObject]:
        """List every file.

        Raises:
            OSError: the folder does not exist or cannot be read.
        """
        status = self._root.stat()
        yield from self._walk(self._root, "", {(status.st_dev, status.st_ino)})

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        """Copy the files. Return what each one is now, or why it cannot be read."""
        return {source: self._copy(source.key, target) for source, target in objects}

    def path_of(self, key: str) -> Path:
        """The file of a key."""
        return self._root / key[len(self._prefix) :]

    def _walk(self, folder: Path, at: str, parents: set[tuple[int, int]]) -> Iterator[SourceObject]:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            path = f"{at}{entry.name}"
            try:
                status = entry.stat()
                is_folder = entry.is_dir()
            except OSError:  # a broken link, which `fetch` reports; or the file was removed
                if not is_ignored(entry.name, folder=False):
                    yield SourceObject(f"{self._prefix}{path}", "", 0)
                continue
            if is_ignored(entry.name, folder=is_folder):
                continue
            if not is_folder:
                yield _object(f"{self._prefix}{path}", status)
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in parents:  # a link to a folder above
                continue
            try:
                yield from self._walk(Path(entry.path), f"{path}/", {*parents, identity})
            except PermissionError:
                yield SourceObject(f"{self._prefix}{path}", "", 0)

    def _copy(self, key: str, target: Path) -> SourceObject | str:
        path = self.path_of(key)
        if not path.exists():
            return "a broken symbolic link" if path.is_symlink() else "the file was removed"
        if not path.is_file() and not path.is_dir():
            return "no regular file"
        for _ in range(_TRIES):
            try:
                with path.open("rb") as source, target.open("wb") as copy:
                    before = os.fstat(source.fileno())
                    shutil.copyfileobj(source, copy)
                    after = _object(key, os.fstat(source.fileno()))
            except OSError as error:
                target.unlink(missing_ok=True)
                return str(error.strerror or error)
            if after == _object(key, before):
                return after
        return "it changes while it is read"


def _object(key: str, status: os.stat_result) -> SourceObject:
    return SourceObject(key, f"{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}", status.st_size)
