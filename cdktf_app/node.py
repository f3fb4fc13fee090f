# SPDX-License-Identifier: Apache-2.0
"""Starts the CDK's Node.js process: the first import of the CDK starts it."""

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
    """Set the variables under which the CDK's Node.js starts; import the CDK in the body.

    Raises:
        SynthError: when the CDK or Node.js is missing.
    """
    _require()
    with _environment(_node_variables()):
        yield


def _node_variables() -> dict[str, str]:
    """Return variables that load only the used part of the provider and suppress warnings."""
    # Quoted for Node.js: the path may contain a space.
    lazily = '--require "{}"'.format(str(_LAZY_PROVIDER).replace("\\", "\\\\").replace('"', '\\"'))
    return {
        "NODE_OPTIONS": f"{os.environ.get('NODE_OPTIONS', '')} {lazily}".strip(),
        # The CDK supports Node 20 but prints an end-of-life warning on every start.
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
