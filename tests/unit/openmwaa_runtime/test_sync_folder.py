# SPDX-License-Identifier: Apache-2.0
"""The folder follows the bucket by whole versions."""

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmwaa_runtime.sync_dags.folder import KEEP_AT_LEAST, KEEP_AT_MOST, KEEP_S, VersionedFolder
from openmwaa_runtime.sync_dags.main import Syncer, next_wait
from tests.unit.openmwaa_runtime.fake_bucket import FakeBucket


class World:
    """A folder and a bucket, and a clock that a step moves on by ten seconds."""

    def __init__(self, root: Path, objects: dict[str, bytes] | None = None) -> None:
        self.root = root
        self.bucket = FakeBucket(objects)
        self.said: list[str] = []
        self.now = 1_000_000.0
        self.start()

    def start(self) -> None:
        folder = VersionedFolder(self.root)
        folder.recover()
        self.syncer = Syncer(self.bucket, "dags", folder, say=self.said.append)

    def step(self) -> bool:
        self.now += 10
        return self.syncer.once(self.now)

    def seen(self) -> dict[str, bytes]:
        """What a reader of `current` finds."""
        current = self.root / "current"
        return {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}

    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.root / "versions").iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"dags/one.py": b"1", "dags/sub/two.py": b"22", "dags/.airflowignore": b"sub\n"})


def test_a_first_sync_brings_everything(world: World) -> None:
    assert world.step()
    assert world.seen() == {"one.py": b"1", "sub/two.py": b"22", ".airflowignore": b"sub\n"}


def test_nothing_new_is_one_list_and_no_download(world: World) -> None:
    world.step()
    world.bucket.fetched.clear()
    before = (world.root / "current").readlink()
    assert not world.step()
    assert world.bucket.fetched == []
    assert (world.root / "current").readlink() == before


def test_an_empty_bucket_is_a_version_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert VersionedFolder(tmp_path).current() is None
    assert world.step()
    assert world.seen() == {}
    assert VersionedFolder(tmp_path).current() is not None


def test_only_what_changed_is_brought_and_the_rest_is_shared(world: World) -> None:
    world.step()
    old = (world.root / "current").resolve()
    world.bucket.fetched.clear()
    world.bucket.objects["dags/one.py"] = b"2"  # the same size
    assert world.step()
    assert world.bucket.fetched == ["dags/one.py"]
    assert world.seen()["one.py"] == b"2"
    new = (world.root / "current").resolve()
    assert (new / "sub/two.py").samefile(old / "sub/two.py")
    assert (old / "one.py").read_bytes() == b"1", "a running task's version changed under it"


def test_a_deleted_object_goes_with_its_folder(world: World) -> None:
    world.step()
    del world.bucket.objects["dags/sub/two.py"]
    assert world.step()
    assert set(world.seen()) == {"one.py", ".airflowignore"}
    assert not (world.root / "current" / "sub").exists()


def test_files_cannot_be_written_for_versions_share_them(world: World) -> None:
    world.step()
    assert (world.root / "current" / "one.py").stat().st_mode & 0o222 == 0


def test_what_was_once_is_not_brought_again(world: World) -> None:
    world.step()
    first = world.seen()
    world.bucket.objects["dags/one.py"] = b"new"
    world.step()
    world.bucket.fetched.clear()
    world.bucket.objects["dags/one.py"] = b"1"
    assert world.step()
    assert (world.seen(), world.bucket.fetched) == (first, [])


@pytest.mark.parametrize("trouble", ["the second page of the list", "a GET", "an object that changes after the list"])
def test_trouble_keeps_what_is_there_and_the_next_sync_mends_it(world: World, trouble: str) -> None:
    world.step()
    before = world.seen()
    world.bucket.objects["dags/one.py"] = b"new"
    world.bucket.objects["dags/zzz.py"] = b"more"
    if trouble == "the second page of the list":
        world.bucket.list_fails = OSError("timed out")
    elif trouble == "a GET":
        world.bucket.before_get = lambda key: (_ for _ in ()).throw(OSError("timed out")) if "zzz" in key else None
    else:
        world.bucket.before_get = lambda key: world.bucket.objects.update({"dags/zzz.py": b"other"})
    with pytest.raises(OSError, match=r"timed out|412"):
        world.step()
    assert world.seen() == before
    assert not list(world.root.glob("building-*")), "a half-built version is left"
    world.bucket.list_fails, world.bucket.before_get = None, lambda _key: None
    assert world.step()
    assert world.seen()["one.py"] == b"new"


def test_a_short_download_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(wanted: list[tuple[object, Path]]) -> None:
        for _, target in wanted:
            target.write_bytes(b"")

    monkeypatch.setattr(world.bucket, "fetch", cut)
    with pytest.raises(OSError, match="came with 0 bytes instead of"):
        world.step()
    assert VersionedFolder(world.root).current() is None


def test_a_syncer_that_was_killed_begins_where_it_was(world: World) -> None:
    world.step()
    (world.root / "building-left" / "sub").mkdir(parents=True)
    (world.root / "building-link").symlink_to("versions/none")
    world.bucket.fetched.clear()
    world.bucket.objects["dags/one.py"] = b"new"
    world.start()
    assert world.step()
    assert world.bucket.fetched == ["dags/one.py"]
    assert not list(world.root.glob("building-*"))


def test_a_spoilt_manifest_costs_a_download_and_nothing_else(world: World) -> None:
    world.step()
    (only,) = (world.root / "manifests").iterdir()
    only.write_text("{")
    world.bucket.objects["dags/one.py"] = b"new"
    assert world.step()
    assert world.seen() == {"one.py": b"new", "sub/two.py": b"22", ".airflowignore": b"sub\n"}


def test_replaced_versions_stay_for_a_day(world: World) -> None:
    for number in range(10):
        world.bucket.objects["dags/one.py"] = str(number).encode()
        world.step()
    assert len(world.versions()) == 10
    world.now += KEEP_S
    world.bucket.objects["dags/one.py"] = b"the next day"
    world.step()
    assert len(world.versions()) == 1 + KEEP_AT_LEAST
    assert world.seen()["one.py"] == b"the next day"
    assert {path.stem for path in (world.root / "manifests").iterdir()} == set(world.versions())


def test_a_busy_bucket_does_not_fill_the_disk(world: World) -> None:
    for number in range(KEEP_AT_MOST + 20):
        world.bucket.objects["dags/one.py"] = str(number).encode()
        world.step()
    assert len(world.versions()) == 1 + KEEP_AT_MOST


def test_a_refused_key_is_said_once(world: World) -> None:
    world.bucket.objects["dags/../evil.py"] = b"x"
    world.step()
    world.step()
    assert [line for line in world.said if "evil" in line] == [
        "left out 'dags/../evil.py': a path that leaves the folder or has an empty part"
    ]
    assert not (world.root / "evil.py").exists()


CONTENTS = st.dictionaries(
    st.sampled_from(["a.py", "b.py", "s/c.py", "s/t/d.py", "s"]), st.binary(max_size=3), max_size=5
)


@settings(max_examples=50, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=6))
def test_after_every_sync_readers_see_what_the_bucket_held(course: list[dict[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        for contents in course:
            world.bucket.objects = {f"dags/{path}": content for path, content in contents.items()}
            world.step()
            folder_wins = any(path.startswith("s/") for path in contents)
            assert world.seen() == {p: c for p, c in contents.items() if not (p == "s" and folder_wins)}


def test_readers_always_see_one_whole_version(tmp_path: Path) -> None:
    files = [f"dags/{number}.py" for number in range(8)]
    world = World(tmp_path, dict.fromkeys(files, b"0"))
    world.step()
    mixtures: list[set[bytes]] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            version = (tmp_path / "current").resolve(strict=True)  # as a task does, once
            contents = {(version / Path(key).name).read_bytes() for key in files}
            reads += 1
            if len(contents) != 1:
                mixtures.append(contents)

    reader = threading.Thread(target=read)
    reader.start()
    swaps = 0
    while swaps < 40 or reads < 40:
        swaps += 1
        world.bucket.objects = dict.fromkeys(files, str(swaps).encode())
        world.step()
    done.set()
    reader.join()
    assert not mixtures, f"{len(mixtures)} of {reads} readers saw a mixture, such as {mixtures[0]}"


@pytest.mark.parametrize(
    ("failures", "chance", "wait"),
    [(0, 0.5, 10), (1, 0.5, 20), (3, 0.5, 60), (1000, 0.5, 60), (0, 0.0, 9), (0, 1.0, 11)],
)
def test_errors_are_tried_again_ever_more_slowly(failures: int, chance: float, wait: float) -> None:
    assert next_wait(10, failures, chance) == pytest.approx(wait)


def test_a_long_interval_is_not_shortened_by_errors() -> None:
    assert next_wait(300, 4, 0.5) == pytest.approx(300)
