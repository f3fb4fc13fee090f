# SPDX-License-Identifier: Apache-2.0
"""Where Terraform's AWS provider comes from when the registry is out of reach.

In this order: the folder `OPENMWAA_PROVIDER_MIRROR`; Terraform's own ways (registry, the user's configuration, its
plugin cache and implied mirrors); wherever on the disk a provider binary lies.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmwaa.local.errors import ProviderError

VARIABLE = "OPENMWAA_PROVIDER_MIRROR"
SOURCE = "registry.terraform.io/hashicorp/aws"
SEARCH_WITHIN_S = 20.0
SEARCH_DEPTH = 12
_NOT_SEARCHED = {"proc", "sys", "dev", "run", "snap", "lost+found", "node_modules", "__pycache__", ".git"}
_ELF = b"\x7fELF"
LEAST_BYTES = 100 << 20
_BINARY = re.compile(r"terraform-provider-aws_v(\d+)\.(\d+)\.(\d+)(?:_x\d+)?$")


@dataclass(frozen=True, order=True)
class Provider:
    """A provider binary on this disk."""

    version: tuple[int, int, int]
    binary: Path

    @classmethod
    def at(cls, path: Path) -> Provider | None:
        """The provider a file is by its name; None for another file."""
        found = _BINARY.match(path.name)
        return cls((int(found[1]), int(found[2]), int(found[3])), path) if found else None

    @property
    def fits(self) -> bool:
        """Whether it is of the versions the stack was applied with: `~> 5.100`."""
        return self.version[0] == 5 and self.version[1] >= 100  # noqa: PLR2004


def named_mirror() -> Path | None:
    """The folder that the variable names.

    Raises:
        ProviderError: it names none.
    """
    if not (named := os.environ.get(VARIABLE)):
        return None
    if not Path(named).is_dir():
        raise ProviderError(
            f"{VARIABLE} is {named}, which is no folder. It must hold {SOURCE}/VERSION/{platform_name()}/."
        )
    return Path(named).absolute()


def find_on_disk(*, own_mirror: Path, say: Callable[[str], None], roots: Sequence[Path] | None = None) -> Path | None:
    """A mirror with a fitting provider found on this disk; None when there is none.

    First in Terraform's usual places, then in a search of the disk that ends after 20 s.
    """
    usual = [Path(place).expanduser() for place in _usual_places()]
    began = time.monotonic()
    for places, deadline_s in ((usual, 5.0), (roots or [Path("/")], SEARCH_WITHIN_S)):
        if best := _first(search(places, within_s=deadline_s)):
            seconds = time.monotonic() - began
            say(f"Terraform's AWS provider is taken from {best.binary} (searched the disk for {seconds:.0f} s)")
            return make_mirror(best, own_mirror)
    return None


def _first(found: Iterator[Provider]) -> Provider | None:
    """The first that fits: another version elsewhere would cost a search of the whole disk."""
    return next((one for one in found if one.fits), None)


def search(
    places: Sequence[Path], *, within_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Provider]:
    """Provider binaries below some folders, at most 12 levels deep and on the same file systems."""
    deadline = clock() + within_s
    seen: set[Path] = set()
    for place in places:
        try:
            device = place.stat().st_dev
        except OSError:
            continue
        todo = [(place, 0)]
        while todo and clock() < deadline:
            folder, depth = todo.pop(0)
            if folder in seen:
                continue
            seen.add(folder)
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    if depth < SEARCH_DEPTH and entry.name not in _NOT_SEARCHED and _on(entry, device):
                        todo.append((Path(entry.path), depth + 1))
                elif (provider := Provider.at(Path(entry.path))) and _is_program(entry):
                    yield provider


def _is_program(entry: os.DirEntry[str]) -> bool:
    """Whether a file of a provider's name is one, and not another's stand-in: the real ones have 700 MB."""
    try:
        if entry.stat().st_size < LEAST_BYTES or not os.access(entry.path, os.X_OK):
            return False
        with Path(entry.path).open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def make_mirror(provider: Provider, folder: Path) -> Path:
    """A file system mirror with one provider, by a link to its binary."""
    version = ".".join(map(str, provider.version))
    place = folder / SOURCE / version / platform_name()
    place.mkdir(parents=True, exist_ok=True)
    for left_over in place.iterdir():
        left_over.unlink()
    (place / provider.binary.name).symlink_to(provider.binary)
    return folder


def write_cli_config(file: Path, mirror: Path) -> Path:
    """Terraform's own configuration for one run: the AWS provider from this mirror and from nowhere else."""
    file.parent.mkdir(parents=True, exist_ok=True)
    quoted = str(mirror).replace("\\", "\\\\").replace('"', '\\"')
    file.write_text(
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f'    path    = "{quoted}"\n'
        '    include = ["registry.terraform.io/hashicorp/aws"]\n'
        "  }\n"
        '  direct {\n    exclude = ["registry.terraform.io/hashicorp/aws"]\n  }\n'
        "}\n"
    )
    return file


def platform_name() -> str:
    """This platform as Terraform spells it, such as linux_amd64."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}_{machine}"


def _usual_places() -> tuple[str, ...]:
    return (
        os.environ.get("TF_PLUGIN_CACHE_DIR") or "~/.terraform.d/plugin-cache",
        "~/.terraform.d",
        "~/.local/share/terraform/plugins",
        "/usr/local/share/terraform/plugins",
        "/usr/share/terraform/plugins",
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _on(entry: os.DirEntry[str], device: int) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_dev == device
    except OSError:
        return False
