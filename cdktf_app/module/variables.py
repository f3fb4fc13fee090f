# SPDX-License-Identifier: Apache-2.0
"""The module's variables: MWAA's names, defaults from the file, validations from the model's bounds.

A value is a variable if it does not change the set of resources. The file fixes fields such as queues, fleets or zones,
and optional fields whose presence changes the set of resources.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from annotated_types import Ge, Le
from pydantic import StringConstraints

from openmwaa.config.airflow_options import REFUSED
from openmwaa.config.aws_limits import MAX_TAGS
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from openmwaa.config.images import SCALER_VERSION
from openmwaa.config.log_modules import LoggingConfiguration, LogLevel

Type = Literal["string", "number", "map(string)"]
_VERSIONS: Final[Mapping[str, Callable[[Environment], str]]] = {
    "airflow": lambda environment: environment.airflow_version,
    "scaler": lambda _: SCALER_VERSION,
}
_OPTION: Final = r"^[a-z]+[a-z0-9_]*\.[a-z0-9._]*[a-z0-9_]$"


@dataclass(frozen=True)
class Validation:
    """A condition in HCL and its error message."""

    condition: str
    message: str


@dataclass(frozen=True)
class Variable:
    """One variable; its default is the value in the file."""

    name: str
    type: Type
    default: Any
    description: str
    validations: tuple[Validation, ...] = ()

    def as_terraform(self) -> dict[str, Any]:
        """Return the variable's block."""
        block: dict[str, Any] = {
            "type": self.type,
            "default": self.default,
            "description": self.description,
            "nullable": False,
        }
        if self.validations:
            block["validation"] = [
                {"condition": f"${{{check.condition}}}", "error_message": check.message} for check in self.validations
            ]
        return block


def variables(environment: Environment) -> dict[str, Variable]:
    """Return the variables of an environment's module by name."""
    found = [
        *_always(environment),
        *_workers(environment),
        *_web_servers(environment),
        *_logging(environment),
        *_existing_resources(environment),
    ]
    return {variable.name: variable for variable in found}


def _always(environment: Environment) -> Iterator[Variable]:
    yield _string(
        environment,
        "name",
        "Name of the environment, part of the names of its resources; at most 80 characters.",
        _pattern("name", "a letter, then letters, digits, - and _; at most 80"),
    )
    yield _string(
        environment,
        "environment_class",
        "Size of schedulers and web servers, and of workers of fleets without their own size.",
        _one_of("environment_class", tuple(ENVIRONMENT_CLASSES)),
    )
    of = "schedulers" if environment.control_plane == "SEPARATE" else "tasks of the control plane"
    yield _number(environment, "schedulers", f"Number of {of}.")
    yield Variable(
        "airflow_configuration_options",
        "map(string)",
        dict(environment.airflow_configuration_options),
        "Airflow configuration options, `section.key` to value; they override all defaults of openmwaa.",
        (
            Validation(
                f"alltrue([for option in keys(var.airflow_configuration_options) : {_matches('option', _OPTION)}])",
                "Airflow's options are `section.key` in lower case, such as core.default_task_retries.",
            ),
            Validation(
                'alltrue([for value in values(var.airflow_configuration_options) : can(regex("^[ -~]*$", value))])',
                "Values of Airflow's options are printable ASCII.",
            ),
            Validation(
                f"length(setintersection(keys(var.airflow_configuration_options), {json.dumps(sorted(REFUSED))})) == 0",
                "openmwaa sets one of these options; docs/reference/airflow-defaults.md names the field for it.",
            ),
        ),
    )
    yield _string(
        environment,
        "dag_s3_path",
        "Folder of the DAGs in the bucket, without a slash at either end.",
        _pattern("dag_s3_path", "a folder without s3:// and without a slash at either end, such as dags"),
    )
    bound = Validation(
        f"length(var.tags) <= {MAX_TAGS}", f"At most {MAX_TAGS} tags: AWS allows 50, the stack adds two."
    )
    description = "Tags of all resources, in addition to those of the caller's provider."
    yield Variable("tags", "map(string)", dict(environment.tags), description, (bound,))


def _workers(environment: Environment) -> Iterator[Variable]:
    """Yield the bounds of fleets without their own; none if all fleets have their own."""
    specs = list(environment.fleet_specs.values())
    if not specs or any(spec.min is None for spec in specs):
        schedule_minimums = [minimum.min for spec in specs if spec.min is None for minimum in spec.schedule]
        yield _number(
            environment,
            "min_workers",
            "Minimum number of workers of fleets without their own.",
            *_bound("min_workers", "<", schedule_minimums, min),
        )
    if not specs or any(spec.max is None for spec in specs):
        fleets = [spec for spec in specs if spec.max is None]
        needed = [minimum.min for spec in fleets for minimum in spec.schedule]
        needed += [spec.fallback.count for spec in fleets if spec.fallback.count is not None]
        has_min_workers = not specs or any(spec.min is None for spec in fleets)
        more = _bound("max_workers", ">=", needed, max)
        if has_min_workers:
            more += (_no_less("max_workers", "min_workers", "the maximum number of workers is below the minimum"),)
        yield _number(environment, "max_workers", "Maximum number of workers of fleets without their own.", *more)


def _web_servers(environment: Environment) -> Iterator[Variable]:
    if environment.control_plane == "COMPACT":
        return
    if not environment.scales_webservers:
        yield _number(
            environment, "min_webservers", "Number of web servers; the file does not enable their autoscaling."
        )
        return
    yield _number(environment, "min_webservers", "Minimum number of web servers.")
    yield _number(
        environment,
        "max_webservers",
        "Maximum number of web servers: scale-out above 70 % CPU or 15 connections per server.",
        _no_less("max_webservers", "min_webservers", "the maximum number of web servers is below the minimum"),
    )


def _logging(environment: Environment) -> Iterator[Variable]:
    logging = environment.logging_configuration
    for field in LoggingConfiguration.model_fields:
        module = getattr(logging, field)
        if field.endswith("_logs") and module.enabled:
            name = f"{field.removesuffix('_logs')}_log_level"
            description = f"Log level of MWAA's module {field}."
            yield Variable(name, "string", module.log_level, description, (_one_of(name, get_args(LogLevel)),))
    days = get_args(LoggingConfiguration.model_fields["retention_days"].annotation)
    yield Variable(
        "log_retention_days",
        "number",
        logging.retention_days,
        "Retention of the log groups, in days.",
        (
            Validation(
                f"contains([{', '.join(map(str, days))}], var.log_retention_days)",
                f"log_retention_days is one of CloudWatch's values: {', '.join(map(str, days))}.",
            ),
        ),
    )


def _existing_resources(environment: Environment) -> Iterator[Variable]:
    """Yield the existing resources that the file names."""
    for field, description in (
        ("kms_key", "ARN of the customer-managed KMS key of all data."),
        ("source_bucket", "Name of the S3 bucket with the DAGs."),
        ("execution_role_arn", "ARN of the role of the tasks of DAGs."),
    ):
        if getattr(environment, field) is not None:
            expected = "a bucket's name" if field == "source_bucket" else "an ARN of that kind"
            yield _string(environment, field, description, _pattern(field, expected))
    for kind in ("airflow", "scaler"):
        reference = getattr(environment.images, kind)
        if reference is None:
            tag = getattr(environment.images, f"{kind}_tag") or _VERSIONS[kind](environment)
            description = f"Tag of the {kind} image in the stack's own repository; tags are immutable."
            yield Variable(f"{kind}_tag", "string", tag, description, (_tag(f"{kind}_tag"),))
        else:
            # The roles allow pulls from one repository; another one needs another stack.
            repository = _repository(reference)
            name = f"{kind}_image"
            message = f"The image is of {repository}, by tag or digest: the roles can pull from no other repository."
            condition = f"can(regex({json.dumps('^' + _quoted(repository) + '[:@].+$')}, var.{name}))"
            description = f"Image of the {kind} containers, with an immutable tag or digest."
            yield Variable(name, "string", reference, description, (Validation(condition, message),))


def _tag(name: str) -> Validation:
    message = f"{name} is a tag: letters, digits, `_`, `.` and `-`, at most 128 characters."
    return Validation(_matches(f"var.{name}", r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"), message)


def _string(environment: Environment, name: str, description: str, *validations: Validation) -> Variable:
    return Variable(name, "string", getattr(environment, name), description, validations)


def _number(environment: Environment, name: str, description: str, *more: Validation) -> Variable:
    bounds = Environment.model_fields[name].metadata
    low = next(bound.ge for bound in bounds if isinstance(bound, Ge))
    high = next(bound.le for bound in bounds if isinstance(bound, Le))
    whole = Validation(
        f"var.{name} >= {low} && var.{name} <= {high} && floor(var.{name}) == var.{name}",
        f"{name} is a whole number from {low} to {high}.",
    )
    return Variable(name, "number", getattr(environment, name), description, (whole, *more))


def _bound(name: str, sign: str, numbers: Sequence[int], chosen: Any) -> tuple[Validation, ...]:
    """Return the validation that schedules and fallbacks of the file require for a number of workers."""
    if not numbers:
        return ()
    number, comparison = chosen(numbers), "less than" if sign == "<" else "at least"
    message = f"{name} must be {comparison} {number}: a fleet's schedule or fallback requires it."
    return (Validation(f"var.{name} {sign} {number}", message),)


def _no_less(name: str, than: str, reason: str) -> Validation:
    return Validation(f"var.{name} >= var.{than}", f"{name} is less than {than}: {reason}.")


def _one_of(name: str, values: Sequence[str]) -> Validation:
    return Validation(f"contains({json.dumps(values)}, var.{name})", f"{name} is one of {', '.join(values)}.")


def _pattern(name: str, expected: str) -> Validation:
    annotation = Environment.model_fields[name]
    constraints = [
        *annotation.metadata,
        *(argument for option in get_args(annotation.annotation) for argument in get_args(option)),
    ]
    pattern = next(
        item.pattern for item in constraints if isinstance(item, StringConstraints) or hasattr(item, "pattern")
    )
    return Validation(_matches(f"var.{name}", str(pattern)), f"{name} is {expected}.")


def _matches(value: str, pattern: str) -> str:
    return f"can(regex({json.dumps(pattern)}, {value}))"


def _repository(reference: str) -> str:
    return reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]


def _quoted(text: str) -> str:
    """Return a regular expression for `text`; RE2 does not support all escapes of Python's `re.escape`."""
    return "".join(f"[{character}]" if character in ".+*?()|{}$" else character for character in text)
