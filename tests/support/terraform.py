# SPDX-License-Identifier: Apache-2.0
"""Terraform for tests, with the AWS provider from a mirror on this disk."""

import os
from collections.abc import Mapping
from pathlib import Path

from openmwaa.local.child_environment import child_environment
from openmwaa.local.terraform import provider_mirror

_ACCOUNT = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def terraform_environment(folder: Path) -> dict[str, str]:
    """Environment variables for Terraform: the provider comes from a mirror if there is one, else from the registry."""
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    environment.pop("TF_CLI_CONFIG_FILE", None)
    if mirror := terraform_mirror():
        config = provider_mirror.write_cli_config(folder / "terraform.rc", mirror)
        environment["TF_CLI_CONFIG_FILE"] = str(config)
    return environment


def emulator_environment(folder: Path, endpoints: Mapping[str, str]) -> dict[str, str]:
    """The same for emulators: these endpoints, and nothing of the user's account, endpoints, proxies and options."""
    known = child_environment({**_ACCOUNT, **endpoints}, base=terraform_environment(folder))
    users = ("TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR")
    return {name: value for name, value in known.items() if not name.startswith(users)}


def terraform_mirror() -> Path | None:
    """The mirror that the variable names, else one on this disk; None leaves the choice to Terraform."""
    return provider_mirror.named_mirror() or provider_mirror.find_mirror()
