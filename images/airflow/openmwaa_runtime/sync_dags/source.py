# SPDX-License-Identifier: Apache-2.0
"""Where DAGs come from: what the syncer needs of a bucket, of a folder and of a git repository."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from openmwaa_runtime.sync_dags.manifest import SourceObject


class DagSource(Protocol):
    """A set of objects that changes."""

    @property
    def commit(self) -> str | None:
        """The commit of the last listing; None if the source is no git repository."""

    def list(self) -> Iterator[SourceObject]:
        """List every object; raises if the list is incomplete."""

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        """Write the objects to paths in existing folders. Return what each one is now, or why it cannot be read."""


class SwitchedSource:
    """A folder while the link to it exists, which `openmwaa local up --dags` writes; else another source."""

    def __init__(self, link: Path, folder: DagSource, other: DagSource) -> None:
        self._link = link
        self._folder = folder
        self._other = other
        self._listed = other

    @property
    def is_folder(self) -> bool:
        """Whether the last listing was that of the folder."""
        return self._listed is self._folder

    @property
    def commit(self) -> str | None:
        """The commit of the source in use."""
        return self._listed.commit

    def list(self) -> Iterator[SourceObject]:
        """List the objects of the source in use."""
        self._listed = self._folder if self._link.is_symlink() else self._other
        return self._listed.list()

    def fetch(self, objects: Iterable[tuple[SourceObject, Path]]) -> Mapping[SourceObject, SourceObject | str]:
        """Fetch from the source of the last listing."""
        return self._listed.fetch(objects)
