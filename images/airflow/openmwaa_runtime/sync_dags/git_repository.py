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
from dulwich.objects import ObjectID, Tag

from openmwaa_runtime.sync_dags.folder import BUILDING, free_bytes
from openmwaa_runtime.sync_dags.git_transport import GitError, GitServer, deadline
from openmwaa_runtime.sync_dags.git_tree import CommitTree
from openmwaa_runtime.sync_dags.manifest import SourceObject

ASK_S: Final = 20.0
FETCH_S: Final = 240.0
"""Less than the five minutes after which a container without a sync is unhealthy."""
MOST_BYTES: Final = 100 << 20
"""Of a fetch: the compressed files of one commit, in all folders."""
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
                with deadline(FETCH_S, "the fetch"):
                    self._fetch()
        except Exception as error:  # noqa: BLE001 - of the server, the network or the repository
            raise GitError(self._server.reason(error)) from None
        return iter(self._listed)

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        """Write the files. Return each one, or why it has no content."""
        return {source: self._refused.get(source.key) or self._link(source, target) for source, target in objects}

    def _link(self, source: SourceObject, target: Path) -> SourceObject:
        os.link(self._contents / source.etag, target)
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
                found: Any = store[tip]
                while isinstance(found, Tag):
                    found = store[found.object[1]]
                tree = CommitTree(store, found.tree, partial(self._extract, store, contents))
                try:
                    listed = tuple(tree.files(self._folder))
                except (LookupError, OSError) as error:
                    raise GitError(f"commit {found.id.decode()} of {self._ref}: {error}") from None
        except BaseException:
            shutil.rmtree(contents, ignore_errors=True)
            raise
        shutil.rmtree(self._contents, ignore_errors=True)
        self._contents, self._tip, self._listed, self._refused = contents, tip, listed, tree.refused
        self.commit = found.id.decode()

    def _extract(self, store: DiskObjectStore, into: Path, sha: ObjectID) -> int:
        name = sha.decode()
        with contextlib.suppress(FileExistsError):
            try:
                os.link(self._contents / name, into / name)  # from the commit before
            except FileNotFoundError:
                content = store.get_raw(sha)[1]
                if len(content) > free_bytes(self._root):
                    raise OSError("the disk has no space for its files") from None
                (into / name).write_bytes(content)
        return (into / name).stat().st_size

    def _download(self, store: DiskObjectStore) -> ObjectID:
        file, commit, abort = store.add_pack()
        limit, tips = min(self._most_bytes, free_bytes(self._root)), []

        def want(refs: Mapping[Any, Any], depth: int | None = None) -> Any:
            tips.append(self._pick(refs))
            return tips

        def write(data: bytes) -> int:
            if file.tell() + len(data) > limit:
                raise GitError(
                    f"the newest commit of {self._ref} is larger than {limit / (1 << 20):.0f} MiB, compressed and with "
                    "all folders; move large files out of the repository, or deploy the DAGs to the bucket"
                )
            return file.write(data)

        try:
            with contextlib.closing(self._server.client()) as client:
                walker = ObjectStoreGraphWalker([], lambda _: [])
                client.fetch_pack(self._server.path.encode(), want, walker, write, depth=1, ref_prefix=self._names())
        except BaseException:
            abort()
            raise
        commit()
        return tips[0]
