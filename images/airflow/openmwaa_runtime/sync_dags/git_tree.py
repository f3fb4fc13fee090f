# SPDX-License-Identifier: Apache-2.0
"""The files of a folder of one commit. Symbolic links are followed inside the repository, and refused outside.

A name such as `..` in a tree is refused like a key of a bucket: see `manifest.refusal_reason`.
"""

import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from dulwich.object_store import BaseObjectStore
from dulwich.objects import S_ISGITLINK, ObjectID

from openmwaa_runtime.sync_dags.git_transport import UnusableCommitError
from openmwaa_runtime.sync_dags.manifest import SourceObject

MOST_ENTRIES: Final = 50_000
"""Links to folders can make few files many."""
_MOST_LINKS: Final = 20


class _NoFileError(Exception):
    """Why an entry of a tree cannot be a file or folder."""


class _Entry(NamedTuple):
    name: str
    mode: int
    sha: ObjectID


@dataclass
class CommitTree:
    """The tree of a commit. `extract` writes the content of a file, and returns its size."""

    store: BaseObjectStore
    root: ObjectID
    extract: Callable[[ObjectID], int]
    refused: dict[str, str] = field(default_factory=dict)
    """Why a file has no content, by path; `files` fills it."""
    _entries_read: int = 0
    _by_name: dict[ObjectID, Mapping[str, _Entry]] = field(default_factory=dict)
    """The folders on the way to links: one may have thousands of links."""

    def files(self, folder: str) -> Iterator[SourceObject]:
        """Yield the files below a folder; those in `refused` have no ETag.

        Raises:
            UnusableCommitError: the commit has no such folder, or too many files.
        """
        try:
            found = self._resolve(folder.split("/"))
        except _NoFileError:
            raise UnusableCommitError(f"there is no folder {folder}") from None
        if not stat.S_ISDIR(found[-1].mode):
            raise UnusableCommitError(f"{folder} is no folder")
        yield from self._walk(found, "", frozenset())

    def _walk(self, path: Sequence[_Entry], at: str, parents: frozenset[ObjectID]) -> Iterator[SourceObject]:
        if path[-1].sha in parents:  # a link to a folder above
            return
        for entry in self._read(path[-1].sha):
            here = f"{at}{entry.name}"
            self._entries_read += 1
            if self._entries_read > MOST_ENTRIES:
                raise UnusableCommitError(f"the folder has more than {MOST_ENTRIES} files and folders")
            try:
                is_link = stat.S_ISLNK(entry.mode)
                found = self._resolve([*(parent.name for parent in path), entry.name]) if is_link else [*path, entry]
                mode, sha = found[-1].mode, found[-1].sha
                reason = "a submodule, which is another repository" if S_ISGITLINK(mode) else None
            except _NoFileError as error:
                reason = str(error)
            if reason is not None:
                self.refused[here] = reason
                yield SourceObject(here, "", 0)
                continue
            if stat.S_ISDIR(mode):
                yield from self._walk(found, f"{here}/", parents | {path[-1].sha})
            else:
                yield SourceObject(here, sha.decode(), self.extract(sha))

    def _resolve(self, names: Sequence[str]) -> list[_Entry]:
        """Return the entries from the root to a path, without links."""
        found, links, rest = [_Entry("", stat.S_IFDIR, self.root)], 0, deque(names)
        while rest:
            name = rest.popleft()
            if name in {"", "."}:
                continue
            if name == "..":
                found.pop()
                if not found:
                    raise _NoFileError("a symbolic link that leaves the repository")
                continue
            entry = self._entry(found[-1].sha, name)
            if entry is not None and stat.S_ISLNK(entry.mode):
                links += 1
                target = self.store.get_raw(entry.sha)[1].decode("utf-8", "surrogateescape")
                if target.startswith("/"):
                    raise _NoFileError("a symbolic link that leaves the repository")
                rest.extendleft(reversed(target.split("/")))
            elif entry is None or (rest and not stat.S_ISDIR(entry.mode)):
                raise _NoFileError("a broken symbolic link")
            else:
                found.append(entry)
            if links > _MOST_LINKS:
                raise _NoFileError("a symbolic link without an end")
        return found

    def _entry(self, tree: ObjectID, name: str) -> _Entry | None:
        if tree not in self._by_name:
            self._by_name[tree] = {entry.name: entry for entry in self._read(tree)}
        return self._by_name[tree].get(name)

    def _read(self, tree: ObjectID) -> Iterator[_Entry]:
        entries: Any = self.store[tree]
        for name, mode, sha in entries.iteritems():
            yield _Entry(name.decode("utf-8", "surrogateescape"), mode, sha)
