# SPDX-License-Identifier: Apache-2.0
"""The environment of a module: some values are expressions of Terraform variables."""

from functools import cached_property
from typing import Any, Final

from cdktf_app.base.expressions import MapExpression, NumberExpression, TextExpression
from cdktf_app.module.variables import Variable
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import EnvironmentClass, TaskSize
from openmwaa.config.images import Images
from openmwaa.config.log_modules import LoggingConfiguration

CLASSES: Final = "environment_classes"
OPTIONS: Final = "airflow_configuration"
TAGS: Final = "tags"


class ModuleEnvironment(Environment):
    """An environment with expressions; decisions at synthesis use the values of the file."""

    scaled: bool
    many: bool

    @property
    def scales_webservers(self) -> bool:
        """As in the file: Application Auto Scaling exists or not."""
        return self.scaled

    @property
    def has_many_webservers(self) -> bool:
        """As in the file."""
        return self.many

    @cached_property
    def size(self) -> EnvironmentClass:
        """Return expressions for the sizes of the caller's environment class."""
        class_sizes = f"local.{CLASSES}[var.environment_class]"

        def number(path: str) -> Any:
            return NumberExpression(f"{class_sizes}.{path}")

        def size(part: str) -> TaskSize:
            return TaskSize(number(f"{part}.cpu"), number(f"{part}.memory"))

        return EnvironmentClass(
            name=self.environment_class,
            worker=size("worker"),
            slots=number("slots"),
            scheduler=size("scheduler"),
            webserver=size("webserver"),
            control_plane=size("control_plane"),
            database_capacity=number("database_capacity"),
        )


def module_environment(environment: Environment, known: dict[str, Variable]) -> ModuleEnvironment:
    """Return the environment with an expression for each of the `known` variables."""
    values = {name: getattr(environment, name) for name in Environment.model_fields}
    values["terraform_state"] = None  # the caller configures the state
    values |= {name: _expression(variable) for name, variable in known.items() if name in values}
    values["airflow_configuration_options"] = MapExpression(f"local.{OPTIONS}")
    values["logging_configuration"] = _logging(environment.logging_configuration, known)
    # `images.airflow` is the variable airflow_image, `images.airflow_tag` airflow_tag.
    values["images"] = environment.images.model_copy(
        update={
            field: _expression(variable)
            for field in Images.model_fields
            if (variable := known.get(field if field.endswith("_tag") else f"{field}_image"))
        }
    )
    return ModuleEnvironment.model_construct(
        **values, scaled=environment.scales_webservers, many=environment.has_many_webservers
    )


def _expression(variable: Variable) -> Any:
    reference = f"var.{variable.name}"
    if variable.type == "number":
        return NumberExpression(reference)
    if variable.type == "string":
        return TextExpression(reference, variable.default)
    return MapExpression(reference)


def _logging(logging: LoggingConfiguration, known: dict[str, Variable]) -> LoggingConfiguration:
    values: dict[str, Any] = {name: getattr(logging, name) for name in LoggingConfiguration.model_fields}
    for field, module in values.items():
        variable = known.get(f"{field.removesuffix('_logs')}_log_level")
        if variable is not None:
            values[field] = module.model_copy(update={"log_level": _expression(variable)})
    values["retention_days"] = _expression(known["log_retention_days"])
    return LoggingConfiguration.model_construct(**values)
