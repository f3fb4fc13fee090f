# SPDX-License-Identifier: Apache-2.0
"""A package index as folders: small wheels and the pages of a simple index."""

import hashlib
import re
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile


def write_wheel(
    folder: Path, name: str, version: str, *, requires: Iterable[str] = (), tag: str = "py3-none-any", code: str = ""
) -> Path:
    """Write the wheel of a package with one module."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-{tag}.whl"
    info = f"{module}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with ZipFile(wheel, "w") as opened:
        opened.writestr(f"{module}.py", code or f"VERSION = {version!r}\n")
        opened.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}")
        opened.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        opened.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name} = {module}:main\n")
        opened.writestr(f"{info}/RECORD", "")
    return wheel


def write_source(folder: Path, name: str, version: str) -> Path:
    """Write the source archive of a package, which states its metadata."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    project = f"[project]\nname = '{name}'\nversion = '{version}'\n"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{stem}.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        for path, text in (("PKG-INFO", metadata), ("pyproject.toml", project)):
            entry = tarfile.TarInfo(f"{stem}/{path}")
            entry.size = len(text)
            opened.addfile(entry, BytesIO(text.encode()))
    return archive


def write_index(folder: Path, files: Path) -> str:
    """Write a simple index of all files in a folder; return its URL."""
    pages: dict[str, list[str]] = {}
    for file in sorted(files.iterdir()):
        name = re.sub(r"[-_.]+", "-", file.name.split("-")[0])
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        pages.setdefault(name, []).append(f'<a href="{file.as_uri()}#sha256={digest}">{file.name}</a>')
    for name, links in pages.items():
        page = folder / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
    return folder.as_uri()
