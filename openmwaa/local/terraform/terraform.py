# SPDX-License-Identifier: Apache-2.0
"""Runs the real Terraform against the emulated APIs and reports its progress."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from openmwaa.errors import TerraformError
from openmwaa.local.child_environment import child_environment, command_marks
from openmwaa.local.errors import ProviderError, ResourceExistsError
from openmwaa.local.terraform import provider_mirror
from openmwaa.progress import Progress
from openmwaa.terraform import ApplyEvents, Terraform

INIT_WITHIN_S = 300.0
APPLY_WITHIN_S = 1200.0
_SHOWN_ERRORS = 5
_FLAKES = ("connection reset", "EOF", "timeout awaiting response", "RequestError")
_EXISTS = re.compile(r"\b\w*(?:AlreadyExists|AlreadyOwned|Duplicate|ResourceExists)\w*\b")
"""AWS's error codes for a request that was carried out and sent again."""


class LocalTerraform:
    """One working folder with `cdk.tf.json` and the override in it."""

    def __init__(self, program: str, folder: Path, *, environment_id: str, endpoints: Mapping[str, str]) -> None:
        self._program = program
        self._folder = folder
        self._environment_id = environment_id
        self._endpoints = endpoints
        self._cli_config = folder / "openmwaa.tfrc"

    def init(self, *, progress: Progress) -> None:
        """Install the provider: from the named mirror, the source of the last run, the registry, or this disk.

        Raises:
            ProviderError: none of them has it.
            TerraformError: Terraform does not accept the configuration.
        """
        if mirror := provider_mirror.named_mirror():
            self._init_from(mirror)
            return
        if self._cli_config.exists():
            if self._try_init(self._cli_config) is None:
                return
            self._cli_config.unlink()
        failure = self._try_init(None)
        if failure is None:
            return
        found = provider_mirror.find_mirror()
        if found is None:
            raise ProviderError(
                "Terraform's AWS provider 5.100 or newer 5.x is neither in the registry nor in a mirror on this disk. "
                f"Make registry.terraform.io reachable, or set {provider_mirror.VARIABLE} to a file system mirror with "
                f"{provider_mirror.SOURCE}. Terraform's message:\n{failure}"
            )
        progress(f"Terraform's registry is out of reach; the AWS provider comes from {found}")
        self._init_from(found)

    def apply(self, *options: str, progress: Progress) -> int:
        """Apply and return the number of changed resources; one retry after a transient error of the emulator.

        Raises:
            ResourceExistsError: the emulator has a resource that Terraform's state does not have.
            TerraformError: with Terraform's own errors.
        """
        events = self._apply(options, progress)
        if events.errors and any(flake in error for error in events.errors for flake in _FLAKES):
            progress(f"Terraform runs once more after: {_short(events.errors[0])}")
            events = self._apply(options, progress)
        if events.errors:
            shown = "\n".join(f"- {error}" for error in events.errors[:_SHOWN_ERRORS])
            exists = any(_EXISTS.search(error) for error in events.errors)
            raise (ResourceExistsError if exists else TerraformError)(
                f"Terraform could not apply the environment:\n{shown}\n"
                "Run `openmwaa local up` again. If the error persists, reset the environment with "
                "`openmwaa local down --delete-data`."
            )
        return events.done

    def _apply(self, options: tuple[str, ...], progress: Progress) -> ApplyEvents:
        arguments = ("-auto-approve", "-lock-timeout=10s", *options)
        return self._terraform().apply(*arguments, progress=progress, within_s=APPLY_WITHIN_S)

    def _init_from(self, mirror: Path) -> None:
        config = provider_mirror.write_cli_config(self._cli_config, mirror)
        failure = self._try_init(config)
        if failure is not None:
            raise TerraformError(f"`terraform init` failed with the provider from {mirror}:\n{failure}")

    def _try_init(self, cli_config: Path | None) -> str | None:
        """Return None on success, else the end of Terraform's output."""
        lines: list[str] = []
        # The lock holds archive hashes of one source; another source would be refused.
        (self._folder / ".terraform.lock.hcl").unlink(missing_ok=True)
        terraform = self._terraform(cli_config, may_use_network=cli_config is None)
        code = terraform.run("init", "-no-color", on_line=lines.append, within_s=INIT_WITHIN_S)
        return "\n".join(line for line in lines if line.strip())[-2000:] if code else None

    def _terraform(self, cli_config: Path | None = None, *, may_use_network: bool = False) -> Terraform:
        environment = dict(os.environ) if may_use_network else child_environment()
        for name in list(environment):
            if name.startswith(("TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "AWS_")):
                del environment[name]
        # With an unreadable file here, Terraform warns and ignores its default configuration.
        if not os.access(environment.get("TF_CLI_CONFIG_FILE", ""), os.R_OK):
            environment.pop("TF_CLI_CONFIG_FILE", None)
        if cli_config:
            environment["TF_CLI_CONFIG_FILE"] = str(cli_config)
        environment |= {
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            # In the provider's block they would cost 5 s of CPU at every start of the provider: it has 400 of them.
            **self._endpoints,
            # Fail after seconds, not minutes, if the registry is out of reach.
            "TF_REGISTRY_CLIENT_TIMEOUT": "5",
            "TF_REGISTRY_DISCOVERY_RETRY": "0",
            **command_marks(self._environment_id),
        }
        return Terraform(self._program, self._folder, environment)


def _short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]}…"  # noqa: PLR2004
