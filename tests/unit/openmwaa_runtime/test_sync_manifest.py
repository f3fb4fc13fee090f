# SPDX-License-Identifier: Apache-2.0
"""The mapping of keys to files."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.sync_dags.manifest import Manifest, SourceObject, read_listing

PARTS = st.sampled_from(["a", "b", "dag.py", ".airflowignore", "..", ".", "", "x" * 256, "ü", "nul\0", "\\..\\"])
KEYS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
OBJECTS = st.lists(
    st.builds(SourceObject, KEYS.map("dags/".__add__), st.sampled_from("pqr"), st.integers(0, 9)), max_size=8
)


def listing_of(*keys: str, prefix: str = "dags") -> dict[str, str]:
    found = read_listing([SourceObject(key, "e", 1) for key in keys], prefix)
    return {**dict.fromkeys(found.manifest.files, "file"), **found.refused}


@pytest.mark.parametrize("prefix", ["dags", "dags/", "/dags/"])
def test_files_are_relative_to_the_prefix(prefix: str) -> None:
    assert listing_of("dags/one.py", "dags/sub/two.py", "dags/.airflowignore", prefix=prefix) == {
        "one.py": "file",
        "sub/two.py": "file",
        ".airflowignore": "file",
    }


def test_an_empty_prefix_is_the_whole_bucket() -> None:
    assert listing_of("one.py", "dags/two.py", prefix="") == {"one.py": "file", "dags/two.py": "file"}


def test_folder_markers_are_not_files() -> None:
    assert listing_of("dags/", "dags/sub/", "dags/sub/two.py") == {"sub/two.py": "file"}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("dags/../../etc/passwd", "leaves the folder"),
        ("dags/sub/../../x.py", "leaves the folder"),
        ("dags//etc/passwd", "empty part"),
        ("dags/./x.py", "leaves the folder"),
        ("dags/x\0.py", "zero byte"),
        ("dags/" + "ü" * 128, "longer than 255 bytes"),
        ("dagsx/one.py", "not under the prefix"),
    ],
)
def test_a_key_that_cannot_be_a_file_in_the_folder_is_refused(key: str, reason: str) -> None:
    (found,) = listing_of(key).items()
    assert found[0] == key
    assert reason in found[1]


def test_a_file_with_the_name_of_a_folder_is_refused() -> None:
    found = listing_of("dags/sub", "dags/sub/two.py")
    assert found == {"sub/two.py": "file", "dags/sub": "a folder has the same name"}


@given(OBJECTS)
def test_every_key_is_a_file_in_the_folder_or_refused(objects: list[SourceObject]) -> None:
    found = read_listing(objects, "dags")
    for path, source in found.manifest.files.items():
        assert source.key == f"dags/{path}"
        assert ".." not in PurePosixPath(path).parts
        assert not PurePosixPath(path).is_absolute()
        parents = {str(parent) for parent in PurePosixPath(path).parents} - {"."}
        assert not parents & set(found.manifest.files), "a path is a file and a folder"
    listed = {source.key for source in found.manifest.files.values()} | set(found.refused)
    assert {source.key for source in objects if not source.key.endswith("/")} == {
        key for key in listed if not key.endswith("/")
    }


@given(OBJECTS)
def test_the_name_depends_on_the_content_only(objects: list[SourceObject]) -> None:
    by_key = {source.key: source for source in objects}
    forward, backward = (read_listing(order, "dags").manifest for order in (by_key.values(), reversed(by_key.values())))
    assert forward.name == backward.name
    assert Manifest.from_json(forward.to_json()) == forward
    for path, source in forward.files.items():
        changed = Manifest({**forward.files, path: SourceObject(source.key, "another", source.size)})
        assert changed.name != forward.name
        assert not changed.unchanged(path, forward)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["k"]}'])
def test_an_invalid_manifest_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Manifest.from_json(text)
