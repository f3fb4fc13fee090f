# SPDX-License-Identifier: Apache-2.0
"""The folder of Terraform's AWS provider where Terraform's registry is out of reach.

The folder is a file system mirror: it holds `registry.terraform.io/hashicorp/aws/VERSION/PLATFORM/`. It is the folder
that `OPENMWAA_PROVIDER_MIRROR` names, else Terraform's plugin cache, else the first such folder at most five levels
below the home folder or the root of the disk (0.2 s for 5,000 folders).
"""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from openmwaa.local.errors import ProviderError

VARIABLE = "OPENMWAA_PROVIDER_MIRROR"
SOURCE = "registry.terraform.io/hashicorp/aws"
SEARCH_DEPTH = 5
# Every user can write to `tmp`, so a program from there is not run.
_NOT_SEARCHED = {"proc", "sys", "dev", "run", "tmp", "mnt", "media", "snap", "lost+found", "node_modules", ".git"}
_VERSION = re.compile(r"5\.\d{3,}\.\d+")
"""The stack's constraint: `~> 5.100`."""


def named_mirror() -> Path | None:
    """The folder that the variable names.

    Raises:
        ProviderError: the folder does not exist.
    """
    if not (named := os.environ.get(VARIABLE)):
        return None
    if not Path(named).is_dir():
        raise ProviderError(
            f"{VARIABLE} is {named}, and this folder does not exist. It must hold {SOURCE}/VERSION/{platform_name()}/."
        )
    return Path(named).absolute()


def find_mirror(roots: Sequence[Path] | None = None) -> Path | None:
    """A mirror on this disk that holds a usable version of the provider; None if there is none."""
    home = Path.home()
    cache = Path(os.environ.get("TF_PLUGIN_CACHE_DIR") or home / ".terraform.d/plugin-cache")
    for root in roots or (cache, home, Path("/")):
        for folder, children, _ in os.walk(root):
            if "registry.terraform.io" in children and _has_provider(Path(folder)):
                return Path(folder)
            deep = len(Path(folder).relative_to(root).parts) >= SEARCH_DEPTH
            children[:] = [] if deep else [child for child in children if child not in _NOT_SEARCHED]
    return None


def write_cli_config(file: Path, mirror: Path) -> Path:
    """Write Terraform's CLI configuration: the AWS provider comes from this mirror only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    quoted = str(mirror).replace("\\", "\\\\").replace('"', '\\"')
    file.write_text(
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f'    path    = "{quoted}"\n'
        f'    include = ["{SOURCE}"]\n'
        "  }\n"
        f'  direct {{\n    exclude = ["{SOURCE}"]\n  }}\n'
        "}\n"
    )
    return file


def platform_name() -> str:
    """This platform in Terraform's notation, such as linux_amd64."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}_{machine}"


def _has_provider(mirror: Path) -> bool:
    binaries = (mirror / SOURCE).glob(f"*/{platform_name()}/terraform-provider-aws_v*")
    return any(_VERSION.fullmatch(binary.parts[-3]) and os.access(binary, os.X_OK) for binary in binaries)
