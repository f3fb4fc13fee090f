# SPDX-License-Identifier: Apache-2.0
"""The two forms of Airflow's control plane: one ECS service for all components, or one for each."""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from openmwaa.config.environment_classes import Sizes
from openmwaa.config.strict_model import FieldError

ControlPlane = Literal["COMPACT", "SEPARATE"]
COMPONENTS: Final = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server")
WEB_SERVERS: Final = ("min_webservers", "max_webservers")
"""Fields of a SEPARATE control plane only."""
COMPACT_SERVICE: Final = "control-plane"
_COMPACT_CLASSES: Final = ("mw1.micro", "mw1.small")


def with_class_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file with the defaults that depend on its environment class."""
    size = fields.get("environment_class", "mw1.small")
    defaults: dict[str, Any] = {} if size in _COMPACT_CLASSES else {"control_plane": "SEPARATE"}
    if size == "mw1.micro":
        defaults["schedulers"] = 1
        if fields.get("control_plane") == "SEPARATE":
            defaults |= {"min_webservers": 1, "max_webservers": 1}
    return {**defaults, **fields}


def services(control_plane: ControlPlane, components: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the ECS services of a control plane, each with the components in its task."""
    if control_plane == "COMPACT":
        return {COMPACT_SERVICE: components}
    return {component: (component,) for component in components}


def check(control_plane: ControlPlane, components: tuple[str, ...], fields: Collection[str], sizes: Sizes) -> None:
    """Raise FieldError for a field that has no effect with this control plane; `fields` are those of the file."""
    if control_plane == "COMPACT":
        for field in WEB_SERVERS:
            if field in fields:
                raise FieldError(
                    f"each task of a COMPACT control plane contains a web server, so `schedulers` is also their "
                    f"number; leave `{field}` out, or write `control_plane: SEPARATE`",
                    field,
                )
    if sizes.execution_api and "execution-api" not in components:
        raise FieldError("Airflow 2 has no execution API; leave it out", "sizes", "execution_api")
    for name, size in sizes:
        if size and (name == "control_plane") != (control_plane == "COMPACT"):
            raise FieldError(
                f"`{name}` is no task of a {control_plane} control plane; use "
                + ("`sizes.control_plane`" if control_plane == "COMPACT" else "the sizes of its components"),
                *("sizes", name),
            )
