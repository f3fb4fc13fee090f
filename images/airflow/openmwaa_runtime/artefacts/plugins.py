# SPDX-License-Identifier: Apache-2.0
"""Unpacks plugins.zip."""

import stat
import zlib
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from openmwaa_runtime.errors import StartupError

MOST_BYTES = 2 << 30
MOST_FILES = 100_000


class PluginsError(StartupError):
    """plugins.zip is no zip file, is too large, or has a file that would be outside its folder."""

    exit_status = 2


def unpack(archive: Path, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Unpack the archive into an existing folder.

    Raises:
        PluginsError: nothing, or only a part, is unpacked.
    """
    try:
        with ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > most_bytes:
                raise PluginsError(f"{archive.name} has more than {MOST_FILES} files or {most_bytes} bytes")
            for entry in entries:
                _check(archive, entry)
            for entry in entries:
                _extract(opened, entry, folder)
    except (
        OSError,
        BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        zlib.error,
        LZMAError,
    ) as error:
        raise PluginsError(f"{archive.name} cannot be unpacked: {error}") from error


def _check(archive: Path, entry: ZipInfo) -> None:
    """Refuse what would be written outside the folder: zipfile would write it to another place instead."""
    path = entry.filename.replace("\\", "/")
    if path.startswith("/") or ".." in path.split("/") or ":" in path.split("/")[0]:
        raise PluginsError(f"{archive.name}: {entry.filename!r} would be outside the folder of plugins")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise PluginsError(f"{archive.name}: {entry.filename!r} is a symbolic link")


def _extract(opened: ZipFile, entry: ZipInfo, folder: Path) -> None:
    target = Path(opened.extract(entry, folder))
    if not entry.is_dir() and (entry.external_attr >> 16) & stat.S_IXUSR:
        target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
