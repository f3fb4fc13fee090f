# SPDX-License-Identifier: Apache-2.0
"""Runs the real Terraform against the emulated APIs, with progress a person can follow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmwaa.local.terraform import provider_mirror
from openmwaa.local.child_environment import child_environment
from openmwaa.local.errors import ProviderError, TerraformError
from openmwaa.local.subprocesses import Program, run

INIT_WITHIN_S = 300.0
APPLY_WITHIN_S = 1200.0
PROGRESS_EVERY_S = 10.0
_SHOWN_ERRORS = 5
_LAST_LINES = 12
_FLAKES = ("ResourceAlreadyExistsException", "connection reset", "EOF", "timeout awaiting response", "RequestError")

Progress = Callable[[str], None]


@dataclass
class ApplyEvents:
    """Reads the events of `terraform apply -json`."""

    total: int | None = None
    done: int = 0
    errors: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """The last lines that were no events, for when Terraform fails without a diagnostic."""

    def read(self, line: str) -> None:
        """Take one line."""
        try:
            event: Mapping[str, Any] = json.loads(line)
            kind = event["type"]
        except (ValueError, KeyError, TypeError):
            self.unread = [*self.unread, line][-_LAST_LINES:]
            return
        if kind == "change_summary" and event["changes"].get("operation") == "plan":
            self.total = sum(event["changes"].get(word, 0) for word in ("add", "change", "remove"))
        elif kind == "apply_complete":
            self.done += 1
        elif kind == "diagnostic" and event["diagnostic"].get("severity") == "error":
            diagnostic = event["diagnostic"]
            where = f" ({diagnostic['address']})" if diagnostic.get("address") else ""
            detail = " ".join((diagnostic.get("detail") or "").split())
            self.errors.append(f"{diagnostic.get('summary', 'error')}{where}. {detail}".strip())


class Terraform:
    """One working folder with `cdk.tf.json` and the override in it."""

    def __init__(self, program: str, folder: Path, *, environment_id: str, endpoint_url: str) -> None:
        self._program = program
        self._folder = folder
        self._environment_id = environment_id
        self._endpoint_url = endpoint_url
        self._cli_config = folder / "openmwaa.tfrc"

    def init(self, *, say: Progress) -> None:
        """Install the provider, from wherever it can be had.

        Raises:
            ProviderError: it was found nowhere.
            TerraformError: the configuration is not accepted.
        """
        if mirror := provider_mirror.named_mirror():
            self._init_from(mirror)
            return
        if self._cli_config.exists():  # what worked last time
            if self._try_init(self._cli_config) is None:
                return
            self._cli_config.unlink()
        failure = self._try_init(None)
        if failure is None:
            return
        say("Terraform's registry is out of reach or has no provider for this configuration; looking on this disk")
        found = provider_mirror.find_on_disk(own_mirror=self._folder / "mirror", say=say)
        if found is None:
            raise ProviderError(
                "Terraform's AWS provider 5.100 or newer 5.x was found neither in the registry nor on this disk. Reach "
                f"registry.terraform.io, or set {provider_mirror.VARIABLE} to a file system mirror that has "
                f"{provider_mirror.SOURCE}. Terraform said:\n{failure}"
            )
        self._init_from(found)

    def apply(self, *, say: Progress) -> int:
        """Apply; once more when the emulator stumbled. Returns how many resources were changed.

        Raises:
            TerraformError: with Terraform's own errors.
        """
        progress = self._apply(say)
        if progress.errors and any(word in error for error in progress.errors for word in _FLAKES):
            say(f"Terraform is run once more: {_short(progress.errors[0])}")
            progress = self._apply(say)
        if progress.errors:
            shown = "\n".join(f"- {error}" for error in progress.errors[:_SHOWN_ERRORS])
            raise TerraformError(
                f"Terraform could not apply the environment:\n{shown}\n"
                "Run `openmwaa local up` again; if it stays, `openmwaa local down --delete-data` begins anew."
            )
        return progress.done

    def _apply(self, say: Progress) -> ApplyEvents:
        progress = ApplyEvents()
        started = told = time.monotonic()

        def line(text: str) -> None:
            nonlocal told
            progress.read(text)
            now = time.monotonic()
            if now - told >= PROGRESS_EVERY_S:
                told = now
                of = f" of {progress.total}" if progress.total is not None else ""
                say(f"Terraform: {progress.done}{of} resources, {now - started:.0f} s")

        code = run(
            self._command("apply", "-json", "-auto-approve", "-lock-timeout=10s"),
            within_s=APPLY_WITHIN_S,
            on_line=line,
        )
        if code and not progress.errors:
            progress.errors.append("\n".join(progress.unread) or f"terraform apply ended with {code}")
        return progress

    def _init_from(self, mirror: Path) -> None:
        config = provider_mirror.write_cli_config(self._cli_config, mirror)
        failure = self._try_init(config)
        if failure is not None:
            raise TerraformError(f"`terraform init` failed with the provider from {mirror}:\n{failure}")

    def _try_init(self, cli_config: Path | None) -> str | None:
        """None when it worked, else the end of what Terraform said."""
        lines: list[str] = []
        # A lock written with one source refuses the other's archive hashes; it is ours alone here.
        (self._folder / ".terraform.lock.hcl").unlink(missing_ok=True)
        command = self._command("init", "-no-color", cli_config=cli_config, may_use_network=cli_config is None)
        code = run(command, within_s=INIT_WITHIN_S, on_line=lines.append)
        return "\n".join(line for line in lines if line.strip())[-2000:] if code else None

    def _command(self, *words: str, cli_config: Path | None = None, may_use_network: bool = False) -> Program:
        environment = dict(os.environ) if may_use_network else child_environment()
        for name in list(environment):
            if name.startswith(("TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "AWS_")):
                del environment[name]
        # A variable that points to what cannot be read would only make Terraform warn and forget its defaults.
        if not os.access(environment.get("TF_CLI_CONFIG_FILE", ""), os.R_OK):
            environment.pop("TF_CLI_CONFIG_FILE", None)
        if cli_config:
            environment["TF_CLI_CONFIG_FILE"] = str(cli_config)
        environment |= {
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            # A registry out of reach is known after seconds, not after minutes.
            "TF_REGISTRY_CLIENT_TIMEOUT": "5",
            "TF_REGISTRY_DISCOVERY_RETRY": "0",
        }
        return Program((self._program, *words), self._folder, environment, self._environment_id)


def _short(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]}…"  # noqa: PLR2004
