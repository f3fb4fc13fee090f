# SPDX-License-Identifier: Apache-2.0
"""The folder gets the content of the bucket in complete versions; one bad object or a full disk stops no other."""

import json
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmwaa_runtime.sync_dags.folder import KEEP_AT_LEAST, KEEP_AT_MOST, KEEP_S, PARSE_S, VersionedFolder
from openmwaa_runtime.sync_dags.main import RETRY_S, Syncer, next_wait
from openmwaa_runtime.sync_dags.manifest import SourceObject, read_listing
from tests.unit.openmwaa_runtime.fake_bucket import FakeBucket


class SyncedFolder:
    """A folder, a bucket, and a clock that each sync advances by ten seconds."""

    def __init__(self, root: Path, objects: dict[str, bytes] | None = None) -> None:
        self.root = root
        self.bucket = FakeBucket(objects)
        self.logged: list[str] = []
        self.now = 1_000_000.0
        self.disk = 0  # without a limit
        self.start()

    def start(self) -> None:
        folder = VersionedFolder(self.root, free=lambda _root: self.disk - self.used() if self.disk else 1 << 40)
        folder.recover()
        self.syncer = Syncer(self.bucket, "dags", folder, environment="e", log=self.logged.append)

    def used(self) -> int:
        """The blocks of all files; versions share unchanged files."""
        sizes = {file.stat().st_ino: file.stat().st_size for file in self.root.glob("versions/**/*") if file.is_file()}
        return sum(-(-size // 4096) * 4096 for size in sizes.values())

    def left_out(self) -> dict[str, dict[str, object]]:
        """What the status file has."""
        found: dict[str, dict[str, object]] = json.loads((self.root / "status.json").read_text())["left_out"]
        return found

    def metrics(self) -> list[int]:
        """The published numbers of left out objects."""
        lines = [json.loads(line) for line in self.logged if line.startswith('{"_aws"')]
        return [line["DagObjectsLeftOut"] for line in lines]

    def sync(self) -> bool:
        self.now += 10
        return self.syncer.sync(self.now)

    def files(self) -> dict[str, bytes]:
        """The files that a reader of `current` sees."""
        current = self.root / "current"
        return {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.root / "versions").iterdir())


@pytest.fixture
def synced(tmp_path: Path) -> SyncedFolder:
    return SyncedFolder(tmp_path, {"dags/one.py": b"1", "dags/sub/two.py": b"22", "dags/.airflowignore": b"sub\n"})


def test_a_first_sync_downloads_every_file(synced: SyncedFolder) -> None:
    assert synced.sync()
    assert synced.files() == {"one.py": b"1", "sub/two.py": b"22", ".airflowignore": b"sub\n"}


def test_the_log_names_the_listing_that_became_current(synced: SyncedFolder) -> None:
    synced.bucket.refused["dags/one.py"] = "AccessDenied"
    synced.sync()
    (line,) = [json.loads(line) for line in synced.logged if line.startswith('{"event": "dags_synced"')]
    listing = read_listing(synced.bucket.list(), "dags").manifest.name
    version = (synced.root / "current").readlink().name
    assert line == {"event": "dags_synced", "at": line["at"], "listing": listing, "version": version, "files": 2}
    assert listing != version, "an upload waits for the listing; the version lacks a file"


def test_without_changes_there_is_one_list_and_no_download(synced: SyncedFolder) -> None:
    synced.sync()
    synced.bucket.fetched.clear()
    before = (synced.root / "current").readlink()
    assert not synced.sync()
    assert synced.bucket.fetched == []
    assert (synced.root / "current").readlink() == before


def test_an_empty_bucket_is_a_version_too(tmp_path: Path) -> None:
    synced = SyncedFolder(tmp_path)
    assert VersionedFolder(tmp_path).current() is None
    assert synced.sync()
    assert synced.files() == {}
    assert VersionedFolder(tmp_path).current() is not None


def test_only_changed_files_are_downloaded_and_the_others_are_linked(synced: SyncedFolder) -> None:
    synced.sync()
    old = (synced.root / "current").resolve()
    synced.bucket.fetched.clear()
    synced.bucket.objects["dags/one.py"] = b"2"  # the same size
    assert synced.sync()
    assert synced.bucket.fetched == ["dags/one.py"]
    assert synced.files()["one.py"] == b"2"
    new = (synced.root / "current").resolve()
    assert (new / "sub/two.py").samefile(old / "sub/two.py")
    assert (old / "one.py").read_bytes() == b"1", "a running task's version changed under it"


def test_a_deleted_object_is_removed_with_its_folder(synced: SyncedFolder) -> None:
    synced.sync()
    del synced.bucket.objects["dags/sub/two.py"]
    assert synced.sync()
    assert set(synced.files()) == {"one.py", ".airflowignore"}
    assert not (synced.root / "current" / "sub").exists()


def test_files_are_read_only_because_versions_share_them(synced: SyncedFolder) -> None:
    synced.sync()
    assert (synced.root / "current" / "one.py").stat().st_mode & 0o222 == 0


def test_a_stored_version_is_not_downloaded_again(synced: SyncedFolder) -> None:
    synced.sync()
    first = synced.files()
    synced.bucket.objects["dags/one.py"] = b"new"
    synced.sync()
    synced.bucket.fetched.clear()
    synced.bucket.objects["dags/one.py"] = b"1"
    assert synced.sync()
    assert (synced.files(), synced.bucket.fetched) == (first, [])


@pytest.mark.parametrize("fault", ["the second page of the list", "a GET"])
def test_after_a_fault_the_version_stays_and_the_next_sync_succeeds(synced: SyncedFolder, fault: str) -> None:
    synced.sync()
    before = synced.files()
    synced.bucket.objects["dags/one.py"] = b"new"
    synced.bucket.objects["dags/zzz.py"] = b"more"
    if fault == "the second page of the list":
        synced.bucket.list_fails = OSError("timed out")
    else:
        synced.bucket.before_get = lambda key: (_ for _ in ()).throw(OSError("timed out")) if "zzz" in key else None
    with pytest.raises(OSError, match="timed out"):
        synced.sync()
    assert synced.files() == before
    assert not list(synced.root.glob("building-*")), "an incomplete version remains"
    synced.bucket.list_fails, synced.bucket.before_get = None, lambda _key: None
    assert synced.sync()
    assert synced.files()["one.py"] == b"new"


def test_an_object_that_changes_after_the_list_is_taken_as_it_is_then(synced: SyncedFolder) -> None:
    synced.bucket.before_get = lambda _key: synced.bucket.objects.update({"dags/one.py": b"other"})
    assert synced.sync()
    assert synced.files()["one.py"] == b"other"
    synced.bucket.fetched.clear()
    assert not synced.sync()
    assert synced.bucket.fetched == []


def test_an_incomplete_download_is_an_error(synced: SyncedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(objects: list[tuple[SourceObject, Path]]) -> dict[SourceObject, SourceObject]:
        for _, target in objects:
            target.write_bytes(b"")
        return {source: source for source, _ in objects}

    monkeypatch.setattr(synced.bucket, "fetch", cut)
    with pytest.raises(OSError, match="has 0 bytes instead of"):
        synced.sync()
    assert VersionedFolder(synced.root).current() is None


def test_a_killed_syncer_continues_after_a_restart(synced: SyncedFolder) -> None:
    synced.sync()
    (synced.root / "building-left" / "sub").mkdir(parents=True)
    (synced.root / "building-link").symlink_to("versions/none")
    synced.bucket.fetched.clear()
    synced.bucket.objects["dags/one.py"] = b"new"
    synced.start()
    assert synced.sync()
    assert synced.bucket.fetched == ["dags/one.py"]
    assert not list(synced.root.glob("building-*"))


def test_an_invalid_manifest_costs_a_download_only(synced: SyncedFolder) -> None:
    synced.sync()
    (only,) = (synced.root / "manifests").iterdir()
    only.write_text("{")
    synced.bucket.objects["dags/one.py"] = b"new"
    assert synced.sync()
    assert synced.files() == {"one.py": b"new", "sub/two.py": b"22", ".airflowignore": b"sub\n"}


def test_replaced_versions_stay_for_a_day(synced: SyncedFolder) -> None:
    for number in range(10):
        synced.bucket.objects["dags/one.py"] = str(number).encode()
        synced.sync()
    assert len(synced.versions()) == 10
    synced.now += KEEP_S
    synced.bucket.objects["dags/one.py"] = b"the next day"
    synced.sync()
    assert len(synced.versions()) == 1 + KEEP_AT_LEAST
    assert synced.files()["one.py"] == b"the next day"
    assert {path.stem for path in (synced.root / "manifests").iterdir()} == set(synced.versions())


def test_a_busy_bucket_does_not_fill_the_disk(synced: SyncedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmwaa_runtime.sync_dags.folder.KEEP_FILES", 3 * KEEP_AT_MOST)
    for number in range(KEEP_AT_MOST + 20):
        synced.bucket.objects["dags/one.py"] = str(number).encode()
        synced.sync()
    assert len(synced.versions()) == 1 + KEEP_AT_MOST


def test_a_small_folder_that_is_saved_every_second_keeps_more_versions(synced: SyncedFolder) -> None:
    for number in range(KEEP_AT_MOST + 20):
        synced.bucket.objects["dags/one.py"] = str(number).encode()
        synced.sync()
    assert len(synced.versions()) == KEEP_AT_MOST + 20, "a running task's version is gone"


DAG = b"from airflow.sdk import DAG\n"


def test_a_changed_dag_is_newer_than_a_parse_that_began_before_the_replacement(synced: SyncedFolder) -> None:
    synced.bucket.objects |= {"dags/a.py": DAG, "dags/b.py": DAG}
    synced.sync()
    untouched = (synced.root / "current/b.py").stat().st_mtime
    synced.bucket.objects["dags/a.py"] = DAG + b"# edited"
    synced.sync()
    replaced = (synced.root / "current").lstat().st_mtime
    assert (synced.root / "current/a.py").stat().st_mtime >= replaced + PARSE_S - 0.001
    assert (synced.root / "current/b.py").stat().st_mtime == untouched, "an unchanged DAG is parsed again"


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_after_a_change_of_a_file_without_a_dag_every_dag_is_parsed_again(synced: SyncedFolder, change: str) -> None:
    synced.bucket.objects |= {"dags/a.py": DAG, "dags/sql/query.sql": b"select 1"}
    synced.sync()
    os.utime(synced.root / "current/a.py", (1, 1))
    if change == "edit":
        synced.bucket.objects["dags/sql/query.sql"] = b"select 2"
    else:
        del synced.bucket.objects["dags/sql/query.sql"]
    synced.sync()
    assert (synced.root / "current/a.py").stat().st_mtime == (synced.root / "current").lstat().st_mtime


def test_a_refused_key_is_logged_once(synced: SyncedFolder) -> None:
    synced.bucket.objects["dags/../evil.py"] = b"x"
    synced.sync()
    synced.sync()
    assert [line for line in synced.logged if "evil" in line and not line.startswith("{")] == [
        "left out 'dags/../evil.py': a path that leaves the folder or has an empty part; the file is missing"
    ]
    assert not (synced.root / "evil.py").exists()


REFUSALS = ["InvalidObjectState", "AccessDenied", "KMS.DisabledException"]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_new_container_gets_all_objects_but_the_one_that_cannot_be_read(synced: SyncedFolder, code: str) -> None:
    synced.bucket.refused["dags/one.py"] = code
    assert synced.sync()
    assert synced.files() == {"sub/two.py": b"22", ".airflowignore": b"sub\n"}
    assert synced.left_out() == {"dags/one.py": {"reason": code, "has_old_content": False}}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_file_whose_new_content_cannot_be_read_keeps_its_old_content(synced: SyncedFolder, code: str) -> None:
    synced.sync()
    synced.bucket.objects |= {"dags/one.py": b"new", "dags/three.py": b"3"}
    del synced.bucket.objects["dags/sub/two.py"]
    synced.bucket.refused["dags/one.py"] = code
    assert synced.sync()
    assert synced.files() == {"one.py": b"1", "three.py": b"3", ".airflowignore": b"sub\n"}
    assert synced.left_out() == {"dags/one.py": {"reason": code, "has_old_content": True}}
    synced.now += RETRY_S
    synced.bucket.refused.clear()
    assert synced.sync()
    assert (synced.files()["one.py"], synced.left_out()) == (b"new", {})


def test_an_unreadable_object_is_tried_again_each_minute_and_not_at_each_sync(synced: SyncedFolder) -> None:
    synced.bucket.refused["dags/one.py"] = "AccessDenied"
    for _ in range(20):
        synced.sync()
    assert synced.bucket.fetched.count("dags/one.py") == 4  # at 0, 60, 120 and 180 s
    assert len(synced.versions()) == 1
    assert synced.metrics() == [1, 1, 1, 1]
    synced.bucket.refused.clear()
    for _ in range(20):
        synced.sync()
    assert synced.metrics() == [1, 1, 1, 1, 0]


def test_an_unreadable_object_that_is_replaced_is_tried_at_once(synced: SyncedFolder) -> None:
    synced.bucket.refused["dags/one.py"] = "AccessDenied"
    synced.sync()
    synced.bucket.refused.clear()
    synced.bucket.objects["dags/one.py"] = b"new"
    synced.sync()
    assert synced.files()["one.py"] == b"new"


def test_an_unreadable_object_survives_a_restart_of_the_syncer(synced: SyncedFolder) -> None:
    synced.sync()
    synced.bucket.objects["dags/one.py"] = b"new"
    synced.bucket.refused["dags/one.py"] = "AccessDenied"
    synced.sync()
    synced.start()
    assert not synced.sync()
    assert synced.files()["one.py"] == b"1"


def test_if_no_object_can_be_read_nothing_is_taken_away(synced: SyncedFolder) -> None:
    synced.bucket.refused = dict.fromkeys(synced.bucket.objects, "AccessDenied")
    with pytest.raises(OSError, match="none of 3 objects can be read: AccessDenied"):
        synced.sync()
    assert VersionedFolder(synced.root).current() is None, "a new container would start without DAGs"
    synced.bucket.refused = {}
    synced.sync()
    before = synced.files()
    synced.bucket.objects = {"dags/other.py": b"x"}
    synced.bucket.refused = {"dags/other.py": "AccessDenied"}
    with pytest.raises(OSError, match="none of 1 objects"):
        synced.sync()
    assert synced.files() == before


def test_a_metric_line_has_the_embedded_format_and_the_keys(synced: SyncedFolder) -> None:
    synced.bucket.refused["dags/one.py"] = "AccessDenied"
    synced.sync()
    (line,) = [json.loads(line) for line in synced.logged if line.startswith('{"_aws"')]
    assert line == {
        "_aws": {
            "Timestamp": int(synced.now * 1000),
            "CloudWatchMetrics": [
                {"Namespace": "openmwaa", "Dimensions": [["Environment"]], "Metrics": [{"Name": "DagObjectsLeftOut"}]}
            ],
        },
        "Environment": "e",
        "DagObjectsLeftOut": 1,
        "objects": [{"key": "dags/one.py", "reason": "AccessDenied", "has_old_content": False}],
    }


BLOCK = 4096


def test_on_a_small_disk_old_versions_make_room_before_the_download(synced: SyncedFolder) -> None:
    synced.disk = 5 * BLOCK
    for number in range(10):
        synced.bucket.objects["dags/one.py"] = bytes([number]) * BLOCK
        assert synced.sync(), "a version that is never read again fills the disk"
        assert synced.used() <= synced.disk
    assert synced.files()["one.py"] == bytes([9]) * BLOCK
    assert len(synced.versions()) == 3
    assert synced.left_out() == {}


def test_an_object_larger_than_the_disk_stops_no_other(synced: SyncedFolder) -> None:
    synced.sync()
    synced.disk = 6 * BLOCK
    synced.bucket.objects |= {"dags/one.py": b"2", "dags/data.bin": bytes(9 * BLOCK)}
    assert synced.sync()
    assert synced.files()["one.py"] == b"2"
    assert synced.left_out() == {
        "dags/data.bin": {"reason": f"the disk has no space for {9 * BLOCK} bytes", "has_old_content": False}
    }
    assert "dags/data.bin" not in synced.bucket.fetched


def test_the_status_file_has_the_time_of_the_last_complete_sync(synced: SyncedFolder) -> None:
    synced.sync()
    synced.sync()
    synced.bucket.list_fails = OSError("timed out")
    with pytest.raises(OSError, match="timed out"):
        synced.sync()
    assert (synced.root / "status.json").stat().st_mtime == synced.now - 10


CONTENTS = st.dictionaries(
    st.sampled_from(["a.py", "b.py", "s/c.py", "s/t/d.py", "s"]), st.binary(max_size=3), max_size=5
)


@settings(max_examples=50, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=6))
def test_after_every_sync_readers_see_the_content_of_the_bucket(course: list[dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        synced = SyncedFolder(Path(root))
        for contents in course:
            synced.bucket.objects = {f"dags/{path}": content for path, content in contents.items()}
            synced.sync()
            folder_wins = any(path.startswith("s/") for path in contents)
            assert synced.files() == {p: c for p, c in contents.items() if not (p == "s" and folder_wins)}


def test_readers_always_see_one_complete_version(tmp_path: Path) -> None:
    files = [f"dags/{number}.py" for number in range(8)]
    synced = SyncedFolder(tmp_path, dict.fromkeys(files, b"0"))
    synced.sync()
    mixtures: list[set[bytes]] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            version = (tmp_path / "current").resolve(strict=True)  # once, as a task does
            contents = {(version / Path(key).name).read_bytes() for key in files}
            reads += 1
            if len(contents) != 1:
                mixtures.append(contents)

    reader = threading.Thread(target=read)
    reader.start()
    replacements = 0
    while replacements < 40 or reads < 40:
        replacements += 1
        synced.bucket.objects = dict.fromkeys(files, str(replacements).encode())
        synced.sync()
    done.set()
    reader.join()
    assert not mixtures, f"{len(mixtures)} of {reads} readers saw mixed versions, such as {mixtures[0]}"


@pytest.mark.parametrize(
    ("failures", "chance", "wait"),
    [(0, 0.5, 10), (1, 0.5, 20), (3, 0.5, 60), (1000, 0.5, 60), (0, 0.0, 9), (0, 1.0, 11)],
)
def test_the_wait_gets_longer_with_each_error(failures: int, chance: float, wait: float) -> None:
    assert next_wait(10, failures, chance) == pytest.approx(wait)


def test_a_long_interval_is_not_shortened_by_errors() -> None:
    assert next_wait(300, 4, 0.5) == pytest.approx(300)
