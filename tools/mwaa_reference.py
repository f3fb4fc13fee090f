# SPDX-License-Identifier: Apache-2.0
"""The table of MWAA's settings with their counterparts, from botocore's model of MWAA and the models of the file."""

from collections.abc import Iterator

import botocore.session

from openmwaa.config.environment import Environment
from openmwaa.config.log_modules import LoggingConfiguration, ModuleLogging
from openmwaa.config.mwaa_fields import COUNTERPARTS, snake_case
from openmwaa.config.network import Network
from openmwaa.config.strict_model import StrictModel
from tools.page_blocks import reference, table

SHAPES: dict[str, tuple[str, type[StrictModel]]] = {
    "CreateEnvironmentInput": ("", Environment),
    "UpdateEnvironmentInput": ("", Environment),
    "Environment": ("", Environment),
    "NetworkConfiguration": ("network", Network),
    "LoggingConfigurationInput": ("logging_configuration", LoggingConfiguration),
    "ModuleLoggingConfigurationInput": ("logging_configuration.MODULE", ModuleLogging),
}
"""Shape of MWAA's API -> the place and the model in the file."""


def page() -> str:
    """Return the page as Markdown."""
    return reference("coming-from-mwaa.md", settings=table("MWAA", "here", rows=rows()))


def rows() -> Iterator[tuple[str, str]]:
    """Yield every member of MWAA's requests and of GetEnvironment, each once, with its counterpart."""
    model, found = botocore.session.get_session().get_service_model("mwaa"), dict[str, str]()
    for shape, (place, fields) in SHAPES.items():
        for member in getattr(model.shape_for(shape), "members"):  # noqa: B009 - no stub
            name, prefix = snake_case(member), f"{place}." if place else ""
            if name in fields.model_fields:
                text = f"`{prefix}{name}`"
            elif name in COUNTERPARTS:
                text = COUNTERPARTS[name]
            else:
                raise ValueError(f"{shape}.{member} of MWAA has no counterpart in openmwaa/config/mwaa_fields.py")
            found.setdefault(f"`{shape.removesuffix('Input')}.{member}`" if place else f"`{member}`", text)
    yield from found.items()
