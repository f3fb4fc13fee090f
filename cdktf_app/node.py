# SPDX-License-Identifier: Apache-2.0
"""How the CDK's Node.js starts: the first import of the CDK starts it, and only synthesis pays for that."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cdktf_app.errors import CdkMissingError, NodeMissingError

_LAZY_PROVIDER: Final = Path(__file__).with_name("lazy_provider.cjs")


@contextmanager
def cdk_starting() -> Iterator[None]:
    """Let the CDK be imported in the body: quietly, and with no more of the provider than is used.

    Raises:
        SynthError: when the CDK or Node.js is missing.
    """
    _require()
    with _environment(_how_the_cdk_starts()):
        yield


def _how_the_cdk_starts() -> dict[str, str]:
    """Return the variables with which the CDK's Node starts quietly, and loads of the provider only what is used."""
    # Quoted as Node wants it: a folder may have a blank in its name.
    lazily = '--require "{}"'.format(str(_LAZY_PROVIDER).replace("\\", "\\\\").replace('"', '\\"'))
    return {
        "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} {lazily}".strip(),
        # Node 20 runs the CDK, which says on every start that it is old.
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require() -> None:
    for package in ("cdktn", "cdktn_provider_aws"):
        if importlib.util.find_spec(package) is None:
            raise CdkMissingError(package)
    node = os.environ.get("JSII_NODE", "node")
    if shutil.which(node) is None:
        raise NodeMissingError(node)
