# SPDX-License-Identifier: Apache-2.0
"""Where the provider comes from when the registry is out of reach."""

from pathlib import Path

import pytest

from openmwaa.local.errors import ProviderError
from openmwaa.local.terraform import provider_mirror
from openmwaa.local.terraform.provider_mirror import (
    Provider,
    find_on_disk,
    named_mirror,
    search,
    write_cli_config,
)


@pytest.fixture(autouse=True)
def _small_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only here may a file of four bytes be a provider: what tests leave on a disk must never be taken for one."""
    monkeypatch.setattr(provider_mirror, "LEAST_BYTES", 4)


def binary(folder: Path, version: str, suffix: str = "_x5") -> Path:
    file = folder / f"terraform-provider-aws_v{version}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x7fELF")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("version", "fits"), [("5.100.0", True), ("5.101.3", True), ("5.99.1", False), ("6.2.0", False), ("4.100.0", False)]
)
def test_only_versions_that_were_applied_fit(tmp_path: Path, version: str, fits: bool) -> None:
    binary(tmp_path / "a/b", version)
    (found,) = search([tmp_path], within_s=5)
    assert found.fits is fits


def test_it_is_found_wherever_it_lies_and_becomes_a_mirror(tmp_path: Path) -> None:
    lying = binary(tmp_path / "deep/down/somewhere", "5.100.0")
    binary(tmp_path / "near", "5.42.0")
    said: list[str] = []
    mirror = find_on_disk(own_mirror=tmp_path / "state/mirror", say=said.append, roots=[tmp_path])
    assert mirror == tmp_path / "state/mirror"
    (link,) = mirror.glob(f"registry.terraform.io/hashicorp/aws/5.100.0/{provider_mirror.platform_name()}/*")
    assert link.resolve() == lying
    assert len(said) == 1, "one line"
    assert str(lying) in said[0]


@pytest.fixture(autouse=True)
def _no_usual_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(provider_mirror.VARIABLE, raising=False)
    monkeypatch.setattr(provider_mirror, "_usual_places", lambda: (str(tmp_path / "home/.terraform.d"),))


def test_the_plugin_cache_is_looked_at_first(tmp_path: Path) -> None:
    cached = binary(tmp_path / "home/.terraform.d/plugin-cache/x", "5.100.0")
    binary(tmp_path / "elsewhere", "5.101.0")
    said: list[str] = []
    find_on_disk(own_mirror=tmp_path / "m", say=said.append, roots=[tmp_path / "elsewhere"])
    assert str(cached) in said[0]


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert find_on_disk(own_mirror=tmp_path / "m", say=print, roots=[tmp_path]) is None


def test_the_search_ends_in_time_and_depth(tmp_path: Path) -> None:
    binary(tmp_path.joinpath(*"abcdefghijklmnop"), "5.100.0")
    assert not list(search([tmp_path], within_s=5)), "deeper than 12"
    binary(tmp_path, "5.100.0")
    ticks = iter(range(0, 1000, 10))
    assert not list(search([tmp_path], within_s=5, clock=lambda: next(ticks))), "the time was over"


def test_what_is_not_searched(tmp_path: Path) -> None:
    for name in ("proc", "node_modules"):
        binary(tmp_path / name, "5.100.0")
    binary(tmp_path, "5.100.0").chmod(0o644)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert not list(search([tmp_path], within_s=5))


def test_names() -> None:
    assert Provider.at(Path("/x/terraform-provider-aws_v5.100.0")) == Provider(
        (5, 100, 0), Path("/x/terraform-provider-aws_v5.100.0")
    )
    assert Provider.at(Path("/x/terraform-provider-aws_v5.100.0_x5.zip")) is None
    assert Provider.at(Path("/x/terraform-provider-awscc_v5.100.0")) is None


def test_the_named_mirror_wins_or_says_that_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_mirror() is None
    monkeypatch.setenv(provider_mirror.VARIABLE, str(tmp_path))
    assert named_mirror() == tmp_path
    monkeypatch.setenv(provider_mirror.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ProviderError, match="is no folder"):
        named_mirror()


def test_the_configuration_names_the_mirror_and_nothing_else(tmp_path: Path) -> None:
    text = write_cli_config(tmp_path / "x/c.tfrc", tmp_path / 'odd "name"').read_text()
    assert f'path    = "{tmp_path}/odd \\"name\\""' in text
    assert "disable_checkpoint = true" in text


def test_a_file_that_only_has_a_providers_name_is_none(tmp_path: Path) -> None:
    script = tmp_path / "terraform-provider-aws_v5.100.0"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert list(search([tmp_path], within_s=60)) == []


def test_a_small_program_of_a_providers_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    binary(tmp_path, "5.100.0")
    assert list(search([tmp_path], within_s=60)) == []
