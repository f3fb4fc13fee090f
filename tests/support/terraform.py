# SPDX-License-Identifier: Apache-2.0
"""Terraform for tests, with a provider that lies on this disk."""

import os
from pathlib import Path

from openmwaa.local.terraform import provider_mirror

# Other tests leave files of this name that are no provider; the real one has 600 MB.
REAL_BYTES = 100_000_000
PLACES = (Path("/opt"), Path.home(), Path("/usr"), Path("/"))


def terraform_environment(folder: Path) -> dict[str, str]:
    """Variables for Terraform: the provider from the named mirror, else from this disk, else from the registry."""
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    environment.pop("TF_CLI_CONFIG_FILE", None)
    mirror = terraform_mirror(folder / "mirror")
    if mirror is not None:
        config = provider_mirror.write_cli_config(folder / "terraform.rc", mirror)
        environment["TF_CLI_CONFIG_FILE"] = str(config)
    return environment


def terraform_mirror(folder: Path) -> Path | None:
    """The named mirror, else one made in `folder` from a provider on this disk; None leaves it to the registry."""
    return provider_mirror.named_mirror() or _found(folder)


def _found(mirror: Path) -> Path | None:
    for provider in provider_mirror.search(PLACES, within_s=20):
        if provider.fits and provider.binary.stat().st_size > REAL_BYTES:
            return provider_mirror.make_mirror(provider, mirror)
    return None
