# SPDX-License-Identifier: Apache-2.0
"""The builder that is used, and the build context whose hash is the tag."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmwaa.cli import app
from openmwaa.config.environment import Environment
from openmwaa.deploy import image_context
from openmwaa.deploy.builders import BuildError, find_builder
from openmwaa.deploy.pushed_images import with_pushed_images, write
from tests.support.environments import LEAST
from tests.unit.deploy.conftest import World
from tests.unit.packaging.test_images import IMAGES, Image, copied_files

DIGESTS = dict.fromkeys(("airflow", "scaler"), f"sha256:{'1' * 64}")


@pytest.mark.parametrize(
    ("working", "chosen"),
    [
        (("docker", "podman", "buildah"), "docker"),
        (("podman", "buildah"), "podman"),
        (("buildah",), "buildah"),
    ],
)
def test_the_first_builder_that_works_is_used(world: World, working: tuple[str, ...], chosen: str) -> None:
    world.builders = working
    assert find_builder(None, print).program == chosen
    assert find_builder("buildah", print).program == "buildah"


def test_without_a_builder_the_error_names_the_way_without_one(world: World) -> None:
    world.builders = ("docker",)
    with pytest.raises(BuildError, match=r"podman do not work here.*by digest"):
        find_builder("podman", print)
    world.builders = ()
    with pytest.raises(BuildError, match="docker and podman and buildah do not work here"):
        find_builder(None, print)


def test_a_failed_build_shows_the_last_lines(world: World) -> None:
    world.builder_faults["build"] = 2
    with pytest.raises(BuildError, match=r"`podman build` ended with exit code 2:\nbuild on demand"):
        find_builder(None, print).build(Path(), "Dockerfile", "image:1", "linux/amd64", ())


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_the_context_has_what_the_dockerfile_copies_and_nothing_else(image: Image, tmp_path: Path) -> None:
    image_context.write(image.name, tmp_path)
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    root = Path(__file__).parents[3]
    copied = {path.relative_to(root).as_posix() for path in copied_files(image).values()}
    locks = {place for place in written if place.endswith(("Dockerfile", ".txt"))}
    assert written.keys() - locks == copied
    dockerfile = written[f"images/{image.name}/Dockerfile"].decode()
    assert all(
        lock.rpartition("/")[2].replace("3.3.2", "${AIRFLOW_VERSION}") in dockerfile
        for lock in locks - {f"images/{image.name}/Dockerfile"}
    )
    assert {path: (root / path).read_bytes() for path in written} == written


def test_the_tag_changes_with_files_and_platform_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = image_context.tag("scaler", "0.1.0", "linux/amd64")
    assert first == image_context.tag("scaler", "0.1.0", "linux/amd64")
    assert first.startswith("0.1.0-")
    assert first != image_context.tag("scaler", "0.1.0", "linux/arm64")
    files = image_context.files("scaler")
    name, file = next((name, file) for name, file in files.items() if name.endswith(".py"))
    changed = tmp_path / "changed.py"
    changed.write_bytes(file.read_bytes() + b"#")
    monkeypatch.setattr(image_context, "files", lambda _kind: {**files, name: changed})
    assert first != image_context.tag("scaler", "0.1.0", "linux/amd64")


def test_digests_of_pushed_images_are_for_images_that_the_file_does_not_name(tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    write(tmp_path / "example", DIGESTS)
    environment = Environment.model_validate({**LEAST, "images": {"airflow_tag": "7"}})
    images = with_pushed_images(environment, tmp_path).images
    assert (images.airflow_tag, images.scaler_tag) == ("7", DIGESTS["scaler"])
    given = Environment.model_validate({**LEAST, "images": {"airflow": "example.com/a:1", "scaler": "example.com/s:1"}})
    assert with_pushed_images(given, tmp_path) == given


def test_synth_uses_the_digests_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def synth(environment: Environment, out: Path) -> Path:
        found.append(environment.images.scaler_tag)
        (out / "example" / "cdk.tf.json").write_text(json.dumps({"resource": {}}))
        return out / "example" / "cdk.tf.json"

    monkeypatch.setattr("cdktf_app.main.synth", synth)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "environment.yaml").write_text(json.dumps(LEAST))
    (tmp_path / "terraform" / "example").mkdir(parents=True)
    write(tmp_path / "terraform" / "example", DIGESTS)
    assert CliRunner().invoke(app, ["synth"]).exit_code == 0
    assert found == [DIGESTS["scaler"]]
