# SPDX-License-Identifier: Apache-2.0
"""A branch or tag of a git repository as the source of DAGs.

Each sync requests the reference. If it moved, the newest commit is fetched without history, and the files of
its folder are extracted by their hashes. So the disk holds one commit, and a force-push is like any other move.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from dulwich.object_store import DiskObjectStore, ObjectStoreGraphWalker
from dulwich.objects import Commit, ObjectID, Tag

from openmwaa_runtime.sync_dags.folder import BUILDING, free_bytes
from openmwaa_runtime.sync_dags.git_transport import GitError, GitServer, UnusableCommitError, deadline
from openmwaa_runtime.sync_dags.git_tree import CommitTree
from openmwaa_runtime.sync_dags.manifest import SourceObject

ASK_S: Final = 20.0
FETCH_S: Final = 240.0
"""Less than the five minutes after which a container without a sync is unhealthy."""
MOST_BYTES: Final = 100 << 20
"""Of a fetch: the compressed files of one commit, in all folders."""
_REMEDY: Final = "move large files out of the repository, or deploy the DAGs to the bucket"
_NAME: Final = f"{BUILDING}git-"


class GitRepository:
    """A folder of a branch or tag."""

    commit: str | None = None

    def __init__(self, server: GitServer, ref: str, folder: str, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._server = server
        self._ref = ref
        self._folder = folder
        self._root = root
        self._most_bytes = most_bytes
        self._tip: ObjectID | None = None
        self._unusable: tuple[ObjectID, str] | None = None
        """A commit and the reason. Else each worker would fetch up to 100 MiB a minute."""
        self._contents = root / _NAME
        """A file for each content of the listing; its name is the hash. A version links to it."""
        self._listed: tuple[SourceObject, ...] = ()
        self._refused: Mapping[str, str] = {}

    def list(self) -> Iterator[SourceObject]:
        """List the files of the newest commit.

        Raises:
            GitError: the server does not answer or refuses, or the commit cannot be used.
        """
        try:
            with deadline(ASK_S, "the question for the reference"):
                tip = self._ask()
            if tip != self._tip:
                self._use(tip)
        except Exception as error:  # noqa: BLE001 - of the server, the network or the repository
            raise GitError(self._server.reason(error)) from None
        return iter(self._listed)

    def _use(self, tip: ObjectID) -> None:
        if self._unusable and tip == self._unusable[0]:
            raise UnusableCommitError(self._unusable[1])
        try:
            with deadline(FETCH_S, "the fetch"):
                self._fetch()
        except (UnusableCommitError, MemoryError) as error:
            too_large = f"the newest commit of {self._ref} has a file that is too large; {_REMEDY}"
            reason = too_large if isinstance(error, MemoryError) else str(error)
            self._unusable = tip, reason
            raise UnusableCommitError(reason) from None

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        """Write the files. Return each one, or why it has no content."""
        return {source: self._refused.get(source.key) or self._link(source, target) for source, target in objects}

    def _link(self, source: SourceObject, target: Path) -> SourceObject:
        _link_or_copy(self._contents / source.etag, target)
        return source

    def _names(self) -> Sequence[bytes]:
        return [f"refs/{kind}/{self._ref}".encode() for kind in ("heads", "tags")]

    def _pick(self, refs: Mapping[Any, Any]) -> ObjectID:
        for name in self._names():
            if refs.get(name):
                return ObjectID(refs[name])
        raise GitError(f"{self._server.host} has no branch or tag {self._ref} in {self._server.path}")

    def _ask(self) -> ObjectID:
        with contextlib.closing(self._server.client()) as client:
            return self._pick(client.get_refs(self._server.path.encode(), ref_prefix=self._names()).refs)

    def _fetch(self) -> None:
        contents = Path(tempfile.mkdtemp(prefix=_NAME, dir=self._root))
        try:
            with (
                tempfile.TemporaryDirectory(prefix=_NAME, dir=self._root) as objects,
                contextlib.closing(DiskObjectStore.init(objects)) as store,
            ):
                tip = self._download(store)
                found = self._commit_of(store, tip)
                tree = CommitTree(store, found.tree, partial(self._extract, store, contents))
                try:
                    listed = tuple(tree.files(self._folder))
                except UnusableCommitError as error:
                    raise UnusableCommitError(f"commit {found.id.decode()} of {self._ref}: {error}") from None
        except BaseException:
            shutil.rmtree(contents, ignore_errors=True)
            raise
        shutil.rmtree(self._contents, ignore_errors=True)
        self._contents, self._tip, self._listed, self._refused = contents, tip, listed, tree.refused
        self.commit = found.id.decode()

    def _commit_of(self, store: DiskObjectStore, tip: ObjectID) -> Commit:
        found: Any = store[tip]
        while isinstance(found, Tag):
            found = store[found.object[1]]
        if not isinstance(found, Commit):
            raise UnusableCommitError(f"the tag {self._ref} marks a {found.type_name.decode()}, no commit")
        return found

    def _extract(self, store: DiskObjectStore, into: Path, sha: ObjectID) -> int:
        before, file = self._contents / sha.decode(), into / sha.decode()
        if before.exists() and not file.exists():
            _link_or_copy(before, file)
        elif not file.exists():
            content = store.get_raw(sha)[1]
            if len(content) > free_bytes(self._root):
                raise OSError("the disk has no space for its files")
            file.write_bytes(content)
        return file.stat().st_size

    def _download(self, store: DiskObjectStore) -> ObjectID:
        file, commit, abort = store.add_pack()
        free, tips = free_bytes(self._root), []

        def want(refs: Mapping[Any, Any], depth: int | None = None) -> Any:
            tips.append(self._pick(refs))
            return tips

        def write(data: bytes) -> int:
            size = file.tell() + len(data)
            if size > self._most_bytes:
                raise UnusableCommitError(
                    f"the newest commit of {self._ref} is larger than {self._most_bytes >> 20} MiB, compressed and "
                    f"with all folders; {_REMEDY}"
                )
            if size > free:
                raise OSError("the disk has no space for the newest commit")
            return file.write(data)

        try:
            with contextlib.closing(self._server.client()) as client:
                walker = ObjectStoreGraphWalker([], lambda _: [])
                client.fetch_pack(self._server.path.encode(), want, walker, write, depth=1, ref_prefix=self._names())
        except BaseException:
            abort()
            raise
        try:
            commit()
        except BufferError as error:  # dulwich cannot close the file after another error, which may be a signal's
            raise error.__context__ or error from None
        return tips[0]


def _link_or_copy(content: Path, target: Path) -> None:
    """Link, up to the limit: on ext4 a file has at most 65 000 links; 1 500 empty modules in 50 versions are more."""
    try:
        os.link(content, target)
    except OSError:
        shutil.copyfile(content, target)
