# SPDX-License-Identifier: Apache-2.0
"""The source of Terraform's AWS provider where the registry is out of reach."""

from pathlib import Path

import pytest

from openmwaa.local.errors import ProviderError
from openmwaa.local.terraform import provider_mirror
from openmwaa.local.terraform.provider_mirror import find_mirror, named_mirror, platform_name, write_cli_config


@pytest.fixture(autouse=True)
def _no_other_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in (provider_mirror.VARIABLE, "TF_PLUGIN_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)


def mirror(folder: Path, version: str = "5.100.0", *, platform: str = platform_name()) -> Path:
    """A file system mirror with one version of the provider."""
    file = folder / provider_mirror.SOURCE / version / platform / f"terraform-provider-aws_v{version}_x5"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o755)
    return folder


@pytest.mark.parametrize(
    ("version", "usable"),
    [("5.100.0", True), ("5.101.3", True), ("5.99.1", False), ("6.2.0", False), ("4.100.0", False)],
)
def test_only_versions_within_the_constraint_of_the_stack_are_used(tmp_path: Path, version: str, usable: bool) -> None:
    mirror(tmp_path / "a/b", version)
    assert (find_mirror([tmp_path]) is not None) is usable


def test_a_mirror_is_found_at_most_five_levels_deep(tmp_path: Path) -> None:
    mirror(tmp_path / "a/b/c/d/e/f")
    assert find_mirror([tmp_path]) is None
    assert find_mirror([tmp_path / "a"]) == tmp_path / "a/b/c/d/e/f"


def test_a_mirror_without_a_usable_version_is_passed_over(tmp_path: Path) -> None:
    mirror(tmp_path / "old", "5.42.0")
    mirror(tmp_path / "other", platform="plan9_mips")
    (binary,) = mirror(tmp_path / "not-executable").rglob("terraform-provider-aws_*")
    binary.chmod(0o644)
    assert find_mirror([tmp_path]) is None
    assert find_mirror([tmp_path, mirror(tmp_path / "last")]) == tmp_path / "last"


@pytest.mark.parametrize("name", ["proc", "node_modules", "tmp"])
def test_these_folders_are_not_searched(tmp_path: Path, name: str) -> None:
    mirror(tmp_path / name / "x")
    assert find_mirror([tmp_path]) is None


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "searched").mkdir()
    (tmp_path / "searched/link").symlink_to(mirror(tmp_path / "elsewhere"))
    assert find_mirror([tmp_path / "searched"]) is None


def test_the_plugin_cache_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(tmp_path / "home/a")
    assert find_mirror() == tmp_path / "home/a"
    mirror(tmp_path / "home/.terraform.d/plugin-cache")
    assert find_mirror() == tmp_path / "home/.terraform.d/plugin-cache"
    monkeypatch.setenv("TF_PLUGIN_CACHE_DIR", str(mirror(tmp_path / "cache")))
    assert find_mirror() == tmp_path / "cache"


def test_the_named_mirror_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_mirror() is None
    monkeypatch.setenv(provider_mirror.VARIABLE, str(tmp_path))
    assert named_mirror() == tmp_path
    monkeypatch.setenv(provider_mirror.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ProviderError, match="does not exist"):
        named_mirror()


def test_the_configuration_takes_the_provider_from_the_mirror_only(tmp_path: Path) -> None:
    text = write_cli_config(tmp_path / "x/c.tfrc", tmp_path / 'odd "name"').read_text()
    assert f'path    = "{tmp_path}/odd \\"name\\""' in text
    assert 'exclude = ["registry.terraform.io/hashicorp/aws"]' in text
    assert "disable_checkpoint = true" in text
