# SPDX-License-Identifier: Apache-2.0
"""Checks of the Dockerfiles without Docker: the sources, the entry point, the user and the installation."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS
from openmwaa.local.install.prerequisites import problems
from openmwaa.local.terraform.provider_mirror import _VERSION

ROOT = Path(__file__).parents[3]
IMAGES = {
    "airflow": ["python", "-m", "openmwaa_runtime"],
    "scaler": ["python", "-m", "scaler.main"],
    "local": ["openmwaa"],
}


def instructions(image: str) -> list[tuple[str, str]]:
    text = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    return [(word, " ".join(rest.split())) for word, rest in re.findall(r"(?m)^([A-Z]+)\s+(.*)$", text)]


@pytest.mark.parametrize("image", IMAGES)
def test_the_entry_point_is_the_expected_one(image: str) -> None:
    assert [json.loads(rest) for word, rest in instructions(image) if word == "ENTRYPOINT"] == [IMAGES[image]]


@pytest.mark.parametrize("image", IMAGES)
def test_the_last_user_is_not_root(image: str) -> None:
    users = [rest for word, rest in instructions(image) if word == "USER"]
    assert re.fullmatch(r"500\d\d:0", users[-1])


@pytest.mark.parametrize("image", IMAGES)
def test_copied_sources_exist_and_are_in_the_context(image: str) -> None:
    ignore = (ROOT / "images" / image / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = [line[1:] for line in ignore if line.startswith("!")]
    copies = [rest.split() for word, rest in instructions(image) if word == "COPY" and "--from" not in rest]
    sources = [part for copy in copies for part in copy[:-1] if not part.startswith("--") and part != "."]
    assert sources
    for source in (name.replace("${AIRFLOW_VERSION}", version) for name in sources for version in AIRFLOW_VERSIONS):
        assert (ROOT / source).exists(), f"{source} is not in the repository"
        assert any(source == entry or source.startswith(f"{entry}/") for entry in admitted), f"{source} is ignored"


@pytest.mark.parametrize("image", IMAGES)
def test_packages_are_installed_with_hashes_only(image: str) -> None:
    installs = [rest for word, rest in instructions(image) if word == "RUN" and " install " in rest]
    assert installs
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)


@pytest.mark.parametrize("image", IMAGES)
def test_the_base_image_can_be_replaced(image: str) -> None:
    found = instructions(image)
    assert found[0] == ("ARG", "BASE_IMAGE=python:3.12-slim")
    assert {rest.split()[0] for word, rest in found if word == "FROM"} == {"${BASE_IMAGE}"}


def test_the_context_of_the_local_image_has_all_parts_of_the_wheel() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    ignore = (ROOT / "images/local/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = [line[1:] for line in ignore if line.startswith("!")]
    for part in (*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"):
        assert any(part == entry or part.startswith(f"{entry}/") for entry in admitted), f"{part} is ignored"


def test_the_local_image_has_a_supported_terraform_and_provider() -> None:
    folder = ROOT / "images/local/terraform"
    sums = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    added = next(rest.split()[0].rpartition("/")[2] for word, rest in instructions("local") if word == "ADD")
    assert set(sums) == {added.replace("${TARGETARCH}", architecture) for architecture in ("amd64", "arm64")}
    versions = {"terraform": f'"terraform_version": "{added.split("_")[1]}"', "node": "20.0"}
    assert problems(which=lambda name: name, run=lambda command: versions[command[0]]) == []
    provider = re.search(r'version = "(.*)"', (folder / "versions.tf").read_text())
    assert provider
    assert _VERSION.fullmatch(provider[1]), "`local up` finds no such version in a mirror"


def test_the_environment_of_the_local_image_has_the_airflow_that_the_image_has() -> None:
    words = [(word, rest) for word, rest in instructions("local") if "AIRFLOW_VERSION" in rest]
    assert [word for word, _ in words] == ["ARG", "RUN", "RUN"], "the argument is for both"
    assert 'openmwaa init /environment --airflow-version "$AIRFLOW_VERSION"' in words[1][1]
    assert "airflow-${AIRFLOW_VERSION}" in words[2][1]
