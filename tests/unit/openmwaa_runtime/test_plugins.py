# SPDX-License-Identifier: Apache-2.0
"""plugins.zip is unpacked into its folder and to no other place."""

from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from openmwaa_runtime.artefacts import plugins
from openmwaa_runtime.artefacts.plugins import PluginsError, unpack


def archive(folder: Path, entries: dict[str, str], *, mode: int = 0o100644) -> Path:
    file = folder / "plugins.zip"
    with ZipFile(file, "w") as opened:
        for name, text in entries.items():
            info = ZipInfo(name)
            info.filename = name  # also a path that ZipInfo would change
            info.external_attr = mode << 16
            opened.writestr(info, text)
    return file


def unpacked(folder: Path, file: Path) -> dict[str, str]:
    target = folder / "plugins"
    target.mkdir()
    unpack(file, target)
    return {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_folders_and_files_are_unpacked(tmp_path: Path) -> None:
    entries = {"a.py": "A", "operators/b.py": "B", "operators/__init__.py": ""}
    assert unpacked(tmp_path, archive(tmp_path, entries)) == entries


def test_a_program_stays_executable(tmp_path: Path) -> None:
    unpacked(tmp_path, archive(tmp_path, {"bin/run": ""}, mode=0o100755))
    assert (tmp_path / "plugins/bin/run").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["../x.py", "a/../../x.py", "/x.py", "..\\x.py", "C:/x.py"])
def test_a_path_outside_the_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(PluginsError, match="outside the folder"):
        unpacked(tmp_path, archive(tmp_path, {"a.py": "", name: ""}))
    assert not list((tmp_path / "plugins").iterdir())


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginsError, match="symbolic link"):
        unpacked(tmp_path, archive(tmp_path, {"a": "/etc/passwd"}, mode=0o120777))


def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = archive(tmp_path, {"a.py": "x" * 11, "b.py": ""})
    with pytest.raises(PluginsError, match="or 10 bytes"):
        unpack(file, tmp_path, most_bytes=10)
    monkeypatch.setattr(plugins, "MOST_FILES", 1)
    with pytest.raises(PluginsError, match="more than 1 files"):
        unpack(file, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plugins.zip").write_bytes(content)
    with pytest.raises(PluginsError, match=r"plugins\.zip cannot be unpacked"):
        unpack(tmp_path / "plugins.zip", tmp_path)


@pytest.mark.parametrize("method", [ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA], ids=["deflate", "bzip2", "lzma"])
def test_a_damaged_file_is_refused(tmp_path: Path, method: int) -> None:
    file = tmp_path / "plugins.zip"
    with ZipFile(file, "w", method) as opened:
        opened.writestr("a.py", "x" * 9999)
    data = bytearray(file.read_bytes())
    data[44:60] = b"\xff" * 16
    file.write_bytes(data)
    with pytest.raises(PluginsError, match=r"plugins\.zip cannot be unpacked"):
        unpack(file, tmp_path)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path, {"\u00e9.py": ""})
    file.write_bytes(file.read_bytes().replace("\u00e9".encode(), b"\xff\xfe"))
    with pytest.raises(PluginsError, match=r"plugins\.zip cannot be unpacked"):
        unpack(file, tmp_path)
