# SPDX-License-Identifier: Apache-2.0
"""The module's variables: MWAA's names, the file's values as defaults, the model's bounds as validations.

A value is a variable where the stack looks the same whatever it is. What decides how many resources there are, such as
queues, fleets or zones, is the file's, and so is a value that the file leaves out where its presence decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from annotated_types import Ge, Le
from pydantic import StringConstraints

from openmwaa.config.environment import Environment, LoggingConfiguration, LogLevel
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from openmwaa.config.images import SCALER_VERSION

Type = Literal["string", "number", "map(string)"]
_VERSIONS: Final[Mapping[str, Callable[[Environment], str]]] = {
    "airflow": lambda environment: environment.airflow_version,
    "scaler": lambda _: SCALER_VERSION,
}
_OPTION: Final = r"^[a-z]+[a-z0-9_]*\.[a-z0-9._]*[a-z0-9_]$"


@dataclass(frozen=True)
class Validation:
    """A condition in HCL, and what is told where it does not hold."""

    condition: str
    message: str


@dataclass(frozen=True)
class Variable:
    """One variable; every one has a default, the file's value."""

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
                {"condition": f"${{{one.condition}}}", "error_message": one.message} for one in self.validations
            ]
        return block


def variables(environment: Environment) -> dict[str, Variable]:
    """Return the variables of an environment's module by name."""
    found = [
        *_always(environment),
        *_workers(environment),
        *_web_servers(environment),
        *_logging(environment),
        *_given(environment),
    ]
    return {one.name: one for one in found}


def _always(environment: Environment) -> Iterator[Variable]:
    yield Variable(
        "name",
        "string",
        environment.name,
        "Name of the environment, and in the names of all that it is made of; at most 80 characters.",
        (_pattern("name", "a letter, then letters, digits, - and _; at most 80"),),
    )
    yield Variable(
        "environment_class",
        "string",
        environment.environment_class,
        "Size of schedulers, web servers and of the workers of every fleet that has no size of its own.",
        (_one_of("environment_class", tuple(ENVIRONMENT_CLASSES)),),
    )
    yield _number(environment, "schedulers", "Number of schedulers.")
    yield Variable(
        "airflow_configuration_options",
        "map(string)",
        dict(environment.airflow_configuration_options),
        "Airflow's own configuration, `section.key` to value; it wins over every default of openmwaa.",
        (
            Validation(
                f"alltrue([for option in keys(var.airflow_configuration_options) : {_matches('option', _OPTION)}])",
                "Airflow's options are `section.key` in lower case, such as core.default_task_retries.",
            ),
            Validation(
                'alltrue([for value in values(var.airflow_configuration_options) : can(regex("^[ -~]*$", value))])',
                "Values of Airflow's options are printable ASCII.",
            ),
        ),
    )
    yield Variable(
        "dag_s3_path",
        "string",
        environment.dag_s3_path,
        "Folder of the bucket that DAGs are read from, without a slash at either end.",
        (_pattern("dag_s3_path", "a folder without a slash at either end, such as dags"),),
    )
    yield Variable(
        "tags",
        "map(string)",
        dict(environment.tags),
        "Tags of everything that can have some, beside those of the caller's provider.",
        (Validation("length(var.tags) <= 50", "AWS takes at most 50 tags."),),
    )


def _workers(environment: Environment) -> Iterator[Variable]:
    """Yield the bounds that a fleet without its own has; none where every fleet says its own."""
    specs = list(environment.fleet_specs.values())
    if not specs or any(spec.min is None for spec in specs):
        least = [one.min for spec in specs if spec.min is None for one in spec.schedule]
        yield _number(
            environment,
            "min_workers",
            "Fewest workers of a fleet that says no number of its own.",
            *_bound("min_workers", "<", least, min),
        )
    if not specs or any(spec.max is None for spec in specs):
        fleets = [spec for spec in specs if spec.max is None]
        needed = [one.min for spec in fleets for one in spec.schedule]
        needed += [spec.fallback.count for spec in fleets if spec.fallback.count is not None]
        has_least = not specs or any(spec.min is None for spec in fleets)
        more = _bound("max_workers", ">=", needed, max)
        if has_least:
            more += (_no_less("max_workers", "min_workers", "the most workers are fewer than the fewest"),)
        yield _number(environment, "max_workers", "Most workers of a fleet that says no number of its own.", *more)


def _web_servers(environment: Environment) -> Iterator[Variable]:
    if not environment.scales_webservers:
        yield _number(environment, "min_webservers", "Number of web servers; the file has no more at most.")
        return
    yield _number(environment, "min_webservers", "Fewest web servers.")
    yield _number(
        environment,
        "max_webservers",
        "Most web servers: one more while CPU is above 70 % or connections are above 15 each.",
        _no_less("max_webservers", "min_webservers", "the most web servers are fewer than the fewest"),
    )


def _logging(environment: Environment) -> Iterator[Variable]:
    logging = environment.logging_configuration
    for field in LoggingConfiguration.model_fields:
        module = getattr(logging, field)
        if field.endswith("_logs") and module.enabled:
            name = f"{field.removesuffix('_logs')}_log_level"
            words = f"The least severe level that MWAA's module {field} writes."
            yield Variable(name, "string", module.log_level, words, (_one_of(name, get_args(LogLevel)),))
    days = get_args(LoggingConfiguration.model_fields["retention_days"].annotation)
    yield Variable(
        "log_retention_days",
        "number",
        logging.retention_days,
        "Days that a log group keeps what it has.",
        (
            Validation(
                f"contains([{', '.join(map(str, days))}], var.log_retention_days)",
                f"CloudWatch knows these days only: {', '.join(map(str, days))}.",
            ),
        ),
    )


def _given(environment: Environment) -> Iterator[Variable]:
    """Yield what the file gives, and could have left to the stack to make."""
    for field, description in (
        ("kms_key", "ARN of the customer-managed KMS key that everything is encrypted with."),
        ("source_bucket", "Name of the S3 bucket with the DAGs."),
        ("execution_role_arn", "ARN of the role that tasks of DAGs run with."),
    ):
        value = getattr(environment, field)
        if value is not None:
            told = "a bucket's name" if field == "source_bucket" else "an ARN of that kind"
            yield Variable(field, "string", value, description, (_pattern(field, told),))
    for kind in ("airflow", "scaler"):
        reference = getattr(environment.images, kind)
        if reference is None:
            tag = getattr(environment.images, f"{kind}_tag") or _VERSIONS[kind](environment)
            words = f"Tag of the {kind} image in the stack's own repository, whose tags never move."
            yield Variable(f"{kind}_tag", "string", tag, words, (_tag(f"{kind}_tag"),))
        else:
            # What may be pulled is in a role's policy: another repository is another stack.
            repository = _repository(reference)
            name = f"{kind}_image"
            told = f"The image is of {repository}, by tag or digest: roles may pull from there alone."
            condition = f"can(regex({json.dumps('^' + _quoted(repository) + '[:@].+$')}, var.{name}))"
            words = f"Image that {kind} containers run, by an immutable tag or digest."
            yield Variable(name, "string", reference, words, (Validation(condition, told),))


def _tag(name: str) -> Validation:
    told = f"{name} is a tag: letters, digits, `_`, `.` and `-`, at most 128."
    return Validation(_matches(f"var.{name}", r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"), told)


def _number(environment: Environment, name: str, description: str, *more: Validation) -> Variable:
    bounds = Environment.model_fields[name].metadata
    low = next(one.ge for one in bounds if isinstance(one, Ge))
    high = next(one.le for one in bounds if isinstance(one, Le))
    whole = Validation(
        f"var.{name} >= {low} && var.{name} <= {high} && floor(var.{name}) == var.{name}",
        f"{name} is a whole number from {low} to {high}.",
    )
    return Variable(name, "number", getattr(environment, name), description, (whole, *more))


def _bound(name: str, sign: str, numbers: Sequence[int], chosen: Any) -> tuple[Validation, ...]:
    """Return what schedules and fallbacks of the file ask of a number of workers."""
    if not numbers:
        return ()
    number = chosen(numbers)
    words = "less than" if sign == "<" else "no less than"
    return (
        Validation(
            f"var.{name} {sign} {number}", f"{name} has to be {words} {number}, which a fleet's schedule wants."
        ),
    )


def _no_less(name: str, than: str, told: str) -> Validation:
    return Validation(f"var.{name} >= var.{than}", f"{name} is less than {than}: {told}.")


def _one_of(name: str, values: Sequence[str]) -> Validation:
    return Validation(f"contains({json.dumps(values)}, var.{name})", f"{name} is one of {', '.join(values)}.")


def _pattern(name: str, told: str) -> Validation:
    annotation = Environment.model_fields[name]
    constraints = [*annotation.metadata, *(each for one in get_args(annotation.annotation) for each in get_args(one))]
    pattern = next(one.pattern for one in constraints if isinstance(one, StringConstraints) or hasattr(one, "pattern"))
    return Validation(_matches(f"var.{name}", str(pattern)), f"{name} is {told}.")


def _matches(value: str, pattern: str) -> str:
    return f"can(regex({json.dumps(pattern)}, {value}))"


def _repository(reference: str) -> str:
    return reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]


def _quoted(text: str) -> str:
    """Return a text as a pattern of itself; Python's own escapes are not all known to RE2."""
    return "".join(f"[{each}]" if each in ".+*?()|{}$" else each for each in text)
