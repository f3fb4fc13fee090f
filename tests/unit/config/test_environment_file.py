# SPDX-License-Identifier: Apache-2.0
"""A valid file gives an environment; an invalid one an error with file, line, field and fix."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from openmwaa.config.environment import Environment, option_variable
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES, FARGATE_MEMORY
from openmwaa.config.environment_file import MINIMUM, as_data, json_schema, load, loads
from openmwaa.config.fleet import FleetFallback, ResolvedFleet
from openmwaa.config.yaml_reader import read_yaml
from openmwaa.errors import EnvironmentFileError
from tests.support.environments import LEAST_YAML

ROOT = Path(__file__).parents[3]
FILE = Path("environment.yaml")
EXAMPLES = sorted((ROOT / "examples").glob("*/environment.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_match_the_models_and_the_json_schema(path: Path) -> None:
    environment = load(path)
    assert environment.fleets, f"{path} has no fleet"
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(json_schema()))


def test_quickstart_is_short() -> None:
    lines = (ROOT / "examples/quickstart/environment.yaml").read_text().splitlines()
    assert len(lines) < 20, f"the quickstart has {len(lines)} lines; a first look must fit in fewer than 20"


def test_the_committed_json_schema_is_up_to_date() -> None:
    committed = (ROOT / "docs/reference/environment.schema.json").read_text()
    assert committed == json_schema(), (
        "run `openmwaa schema > docs/reference/environment.schema.json`; the models changed"
    )


def test_a_name_gives_an_environment_with_mwaas_defaults() -> None:
    environment = loads(LEAST_YAML, FILE)
    assert (environment.environment_class, environment.min_workers, environment.max_workers) == ("mw1.small", 1, 10)
    assert environment.schedulers == 2
    assert environment.webserver_access_mode == "PRIVATE_ONLY"
    assert environment.fleets == {"default": ResolvedFleet("default", ("default",), 1024, 2048, 5, 1, 10)}
    assert environment.total_slots == 50


def test_the_default_kind_can_be_left_out() -> None:
    environment = loads(LEAST_YAML + "metadata_database: {instances: 2}\nbroker: {max_receive_count: 50}", FILE)
    assert (environment.metadata_database.kind, environment.broker.kind) == ("AURORA_SERVERLESS_V2", "SQS")


def test_micro_has_one_scheduler_by_default() -> None:
    assert loads(LEAST_YAML + "environment_class: mw1.micro", FILE).schedulers == 1
    assert loads(LEAST_YAML + "environment_class: mw1.micro\nschedulers: 2", FILE).schedulers == 2


def test_fleets_inherit_defaults_from_the_environment() -> None:
    environment = loads(
        """
        name: example
        web_access: {allow_http: true}
        environment_class: mw1.medium
        max_workers: 7
        fleets:
          small: {queues: [default, light], class: mw1.small, min: 2}
          big: {queues: [heavy], cpu: 4096, memory: 16384, slots: 3, max: 2}
          plain: {queues: [other]}
        """,
        FILE,
    )
    assert environment.fleets == {
        "small": ResolvedFleet("small", ("default", "light"), 1024, 2048, 5, 2, 7),
        "big": ResolvedFleet("big", ("heavy",), 4096, 16384, 3, 1, 2),
        "plain": ResolvedFleet("plain", ("other",), 2048, 4096, 10, 1, 7),
    }
    assert environment.queues == ("default", "light", "heavy", "other")
    assert environment.total_slots == 2 * 3 + 7 * 5 + 7 * 10


def _scheduled(words: str) -> str:
    return f"name: a\nfleets:\n  x:\n    queues: [default]\n    schedule: [{{{words}}}]"


def _falling_back(words: str) -> str:
    return f"name: a\nfleets:\n  x: {{queues: [default],\n    fallback: {{{words}}}}}"


def _measured(words: str) -> str:
    metric = f"    demand_metric:\n      namespace: a\n      metric_name: b\n      {words}"
    return f"name: a\nfleets:\n  x:\n    queues: [default]\n{metric}"


WRONG = {
    "unknown field": ("name: a\nmax_worker: 3", 2, "max_worker", "did you mean `max_workers`?"),
    "unknown field of a fleet": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    clas: mw1.small",
        5,
        "fleets.x.clas",
        "did you mean `class`?",
    ),
    "unknown field of a log module": (
        "name: a\nlogging_configuration:\n  task_logs:\n    level: INFO",
        4,
        "logging_configuration.task_logs.level",
        "log_level",
    ),
    "missing name": ("max_workers: 3", 1, "name", "is missing"),
    "bad name": ("name: 5x", 1, "name", "a letter, then letters"),
    "unknown class": ("name: a\nenvironment_class: mw1.tiny", 2, "environment_class", "'mw1.small'"),
    "unsupported Airflow": ("name: a\nairflow_version: 2.9.2", 2, "airflow_version", "3.3.2"),
    "fewer than no workers": ("name: a\nmin_workers: -1", 2, "min_workers", "greater than or equal to 0"),
    "no workers at most": ("name: a\nmax_workers: 0", 2, "max_workers", "greater than or equal to 1"),
    "unknown capacity": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    capacity: SPOT",
        5,
        "fleets.x.capacity",
        "'FARGATE' or 'FARGATE_SPOT'",
    ),
    "cron of six fields": (
        _scheduled("cron: '0 0 6 * * 1-5', minutes: 60, min: 2"),
        5,
        "fleets.x.schedule[0].cron",
        "has 6 fields; cron has 5: minute, hour",
    ),
    "no cron": (
        _scheduled("cron: '0 25 * * *', minutes: 60, min: 2"),
        5,
        "fleets.x.schedule[0].cron",
        "not a cron expression (Bad hour)",
    ),
    "a cron that never comes": (
        _scheduled("cron: '0 0 31 2 *', minutes: 60, min: 2"),
        5,
        "fleets.x.schedule[0].cron",
        "Bad day-of-month",
    ),
    "unknown time zone": (
        _scheduled("cron: '0 6 * * *', minutes: 60, min: 2, timezone: Mars/Base"),
        5,
        "fleets.x.schedule[0].timezone",
        "example: Europe/Zurich",
    ),
    "a time zone's folder": (
        _scheduled("cron: '0 6 * * *', minutes: 60, min: 2, timezone: Europe"),
        5,
        "fleets.x.schedule[0].timezone",
        "'Europe', which is not in the IANA database",
    ),
    "unknown field of a schedule": (
        _scheduled("cron: '0 6 * * *', minute: 60, min: 2"),
        5,
        "fleets.x.schedule[0].minutes",
        "is missing",
    ),
    "a schedule of more than the most": (
        _scheduled("cron: '0 6 * * *', minutes: 60, min: 30"),
        5,
        "fleets.x.schedule[0].min",
        "is 30; it must be greater than the minimum (1) and at most the maximum (10)",
    ),
    "a schedule that changes nothing": (
        _scheduled("cron: '0 6 * * *', minutes: 60, min: 1"),
        5,
        "fleets.x.schedule[0].min",
        "greater than the minimum",
    ),
    "a week and a minute": (
        _scheduled("cron: '0 6 * * *', minutes: 10081, min: 2"),
        5,
        "fleets.x.schedule[0].minutes",
        "less than or equal to 10080",
    ),
    "a fallback without a count": (
        _falling_back("mode: fixed"),
        4,
        "fleets.x.fallback.mode",
        "`fixed` needs a `count`",
    ),
    "a count that is not used": (_falling_back("count: 3"), 4, "fleets.x.fallback.count", "has no `count`"),
    "a fallback above the most": (
        _falling_back("mode: hold-if-higher, count: 11"),
        4,
        "fleets.x.fallback.count",
        "the fallback's `count` (11) is greater than the maximum (10)",
    ),
    "unknown field of a fallback": (
        _falling_back("mode: hold, after_second: 5"),
        4,
        "fleets.x.fallback.after_second",
        "did you mean `after_seconds`?",
    ),
    "text for a number": ("name: a\nmax_workers: many", 2, "max_workers", "valid integer"),
    "more than the most": ("name: a\nmin_workers: 4\nmax_workers: 2", 2, "min_workers", "raise `max_workers`"),
    "public web server": (
        "name: a\nwebserver_access_mode: PUBLIC_ONLY\nweb_access:\n  login: PASSWORD",
        2,
        "webserver_access_mode",
        "login: IAM",
    ),
    "plain HTTP not allowed": ("name: a", 1, "web_access", "allow_http: true"),
    "CPU without memory": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    cpu: 1024",
        5,
        "fleets.x.cpu",
        "`cpu` and `memory` must be set together",
    ),
    "impossible memory": (
        "name: a\nfleets:\n  x: {queues: [default], cpu: 1024, memory: 100, slots: 1}",
        3,
        "fleets.x.memory",
        "2048, 3072, 4096",
    ),
    "impossible CPU": (
        "name: a\nfleets:\n  x: {queues: [default], cpu: 1000, memory: 2048, slots: 1}",
        3,
        "fleets.x.cpu",
        "256, 512, 1024",
    ),
    "size and class": (
        "name: a\nfleets:\n  x: {queues: [default], class: mw1.small, cpu: 1024, memory: 2048, slots: 1}",
        3,
        "fleets.x.class",
        "not both",
    ),
    "no slots": ("name: a\nfleets:\n  x: {queues: [default], cpu: 1024, memory: 2048}", 3, "fleets.x.cpu", "`slots`"),
    "a queue in two fleets": (
        "name: a\nfleets:\n  x: {queues: [default]}\n  y: {queues: [default]}",
        4,
        "fleets.y.queues[0]",
        "served by x and y; remove it",
    ),
    "a queue twice in a fleet": (
        "name: a\nfleets:\n  x:\n    queues:\n      - default\n      - default",
        6,
        "fleets.x.queues[1]",
        "served twice by the fleet x",
    ),
    "a fleet with more than the most": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    min: 4\n    max: 2",
        5,
        "fleets.x.min",
        "raise `max`",
    ),
    "a fleet with less than the environment's minimum": (
        "name: a\nmin_workers: 4\nfleets:\n  x:\n    queues: [default]\n    max: 2",
        6,
        "fleets.x.max",
        "raise `max`",
    ),
    "fewer web servers than the minimum": (
        "name: a\nweb_access: {allow_http: true}\ncontrol_plane: SEPARATE\nmax_webservers: 1",
        4,
        "max_webservers",
        "raise `max_webservers`",
    ),
    "a version with one number": (
        "name: a\nairflow_version: 2.10",
        2,
        "airflow_version",
        'is `2.10`; write a plain number such as 10, or quote it for text: "2.10"',
    ),
    "no fleet serves default": (
        "name: a\nfleets:\n  x: {queues: [other]}",
        2,
        "fleets",
        "no fleet serves the queue `default`",
    ),
    "public VPC range": ("name: a\nnetwork:\n  vpc_cidr: 8.8.0.0/16", 3, "network.vpc_cidr", "RFC 1918"),
    "tiny VPC range": ("name: a\nnetwork:\n  vpc_cidr: 10.0.0.0/24", 3, "network.vpc_cidr", "/16 to /20"),
    "no VPC range": ("name: a\nnetwork:\n  vpc_cidr: home", 3, "network.vpc_cidr", "10.192.0.0/16"),
    "bad option": (
        "name: a\nairflow_configuration_options:\n  Parallelism: 5",
        3,
        "airflow_configuration_options.Parallelism",
        "section.key",
    ),
    "bad role": ("name: a\nexecution_role_arn: me", 2, "execution_role_arn", "ARN of an IAM role"),
    "a tag with symbols": (
        "name: a\ntags:\n  Team: 'R&D (#1)'",
        3,
        "tags.Team",
        "'R&D (#1)'; it must be at most 256 letters",
    ),
    "a tag's key with symbols": ("name: a\ntags:\n  'a#b': c", 3, "tags.a#b", "1 to 127 letters"),
    "a tag with an emoji": ("name: a\ntags:\n  Team: 🚀", 3, "tags.Team", "contains '🚀'; a tag has letters"),
    "an empty tag key": ("name: a\ntags:\n  '': c", 3, "tags", "a key must be text that is not empty"),
    "a tag of AWS": ("name: a\ntags:\n  AWS:Team: c", 3, "tags.AWS:Team", "reserved for AWS"),
    "a tag's value of AWS": ("name: a\ntags:\n  Team: aws:c", 3, "tags.Team", "reserved for AWS"),
    "a tag of the stack": ("name: a\ntags:\n  openmwaa:x: c", 3, "tags.openmwaa:x", "is a tag of the stack"),
    "keys that IAM takes for one": ("name: a\ntags:\n  Team: a\n  team: b", 4, "tags.team", "one key for IAM"),
    "more tags than AWS allows with ours": (
        "name: a\ntags:\n" + "".join(f"  t{n}: x\n" for n in range(49)),
        2,
        "tags",
        "has 49 tags; AWS allows 50 for a resource, and the stack adds `Name` and `openmwaa:environment`",
    ),
    "a folder as a URL": ("name: a\ndag_s3_path: s3://bucket/dags", 2, "dag_s3_path", "without s3://"),
    "a folder with an empty part": ("name: a\ndag_s3_path: a//b", 2, "dag_s3_path", "`//`, `.` and `..`"),
    "a folder above another": ("name: a\ndag_s3_path: x/../y", 2, "dag_s3_path", "`.` and `..`"),
    "a folder with a dot": ("name: a\ndag_s3_path: ./dags", 2, "dag_s3_path", "`.` and `..`"),
    "a bucket as a URL": ("name: a\nsource_bucket: s3://bucket", 2, "source_bucket", "without s3://"),
    "a bucket that ends in a dot": ("name: a\nsource_bucket: bucket.", 2, "source_bucket", "name or ARN"),
    "an image as a URL": ("name: a\nimages:\n  airflow: https://x/y", 3, "images.airflow", "without scheme"),
    "a FIFO queue": (
        "name: a\nfleets:\n  x:\n    queues:\n      - default\n      - orders.fifo",
        6,
        "fleets.x.queues[1]",
        "is 'orders.fifo'; it must be letters, digits, `_`, `-`, at most 40, not a FIFO queue (rule: sqs)",
    ),
    "a key of another Region": (
        "name: a\nweb_access: {allow_http: true}\nkms_key: arn:aws:kms:eu-west-1:123456789012:key/1",
        3,
        "kms_key",
        "is in eu-west-1; the service needs one in us-east-1",
    ),
    "a role of another partition": (
        "name: a\nweb_access: {allow_http: true}\nexecution_role_arn: arn:aws-cn:iam::123456789012:role/x",
        3,
        "execution_role_arn",
        "is in the partition aws-cn",
    ),
    "a bucket of another partition": (
        "name: a\nweb_access: {allow_http: true}\nsource_bucket: arn:aws-cn:s3:::bucket",
        3,
        "source_bucket",
        "is in the partition aws-cn; us-east-1 is in aws",
    ),
    "an unknown kind of broker": (
        "name: a\nbroker:\n  kind: KAFKA",
        3,
        "broker.kind",
        "is 'KAFKA'; it must be 'SQS', 'ELASTICACHE'",
    ),
    "an unknown kind of database": (
        "name: a\nmetadata_database: {\n  kind: MYSQL}",
        3,
        "metadata_database.kind",
        "it must be 'AURORA_SERVERLESS_V2', 'RDS_POSTGRESQL', 'EXISTING'",
    ),
    "an empty kind": ("name: a\nbroker:\n  kind:", 3, "broker.kind", "is empty; write a value"),
    "a metric with a colon": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    demand_metric: {namespace: ':a', metric_name: b}",
        5,
        "fleets.x.demand_metric.namespace",
        "it must be printable ASCII, at most 255, without `:` or a blank at its start (rule: cloudwatch",
    ),
    "a metric with an emoji": (
        "name: a\nfleets:\n  x:\n    queues: [default]\n    demand_metric: {namespace: a, metric_name: 🚀}",
        5,
        "fleets.x.demand_metric.metric_name",
        "it must be printable ASCII",
    ),
    "a metric without slots": (
        _measured("slots_per_unit: 0"),
        8,
        "fleets.x.demand_metric.slots_per_unit",
        "greater than 0",
    ),
    "a period that CloudWatch lacks": (
        _measured("period_seconds: 90"),
        8,
        "fleets.x.demand_metric.period_seconds",
        "multiple of 60",
    ),
    "more dimensions than CloudWatch has": (
        _measured("dimensions: {" + ", ".join(f"d{number}: x" for number in range(31)) + "}"),
        8,
        "fleets.x.demand_metric.dimensions",
        "at most 30 items",
    ),
    "options that do not fit into a task definition": (
        "name: a\nweb_access: {allow_http: true}\ncontrol_plane: SEPARATE\nairflow_configuration_options:\n"
        + "".join(f"  mine.a{number}: {'x' * 1000}\n" for number in range(25)),
        4,
        "airflow_configuration_options",
        "the options, all queues and the tags take 52434 bytes in the scheduler's task definition, and at most 49152",
    ),
    "tags that do not fit into a task definition": (
        "name: a\nweb_access: {allow_http: true}\ntags:\n"
        + "".join(f"  {f'k{number}'.ljust(127, 'k')}: {'é' * 256}\n" for number in range(48)),
        3,
        "tags",
        "the options, all queues and the tags take",
    ),
    "queues that do not fit into a policy": (
        f"name: {'e' * 80}\nweb_access: {{allow_http: true}}\nfleets:\n  x:\n    queues:\n    - default\n"
        + "".join(f"    - q{number}\n" for number in range(45)),
        3,
        "fleets",
        "take 5428 characters in the policy of the worker's role, and at most 5376 fit",
    ),
    "fleets that do not fit into a policy": (
        f"name: {'e' * 80}\nweb_access: {{allow_http: true}}\nfleets:\n  x: {{queues: [default]}}\n"
        + "".join(f"  {f'f{number:02}'.ljust(20, 'x')}: {{queues: [q{number}]}}\n" for number in range(30)),
        3,
        "fleets",
        "in the policy of the scaler's role, and at most 8208 fit",
    ),
    "fleets that do not fit into a task definition": (
        "name: a\nbroker: {kind: ELASTICACHE}\nweb_access: {allow_http: true}\n"
        "fleets:\n  x:\n    queues:\n    - default\n"
        + "".join(f"    - {f'q{number}'.ljust(40, 'q')}\n" for number in range(250)),
        4,
        "fleets",
        "the fleets take ",
    ),
    "an alias of a key": (
        "name: a\nkms_key: arn:aws:kms:us-east-1:123456789012:alias/x",
        2,
        "kms_key",
        "the ARN of a KMS key (not of an alias)",
    ),
    "windows that overlap": (
        "name: a\nmetadata_database:\n  backup_window: 23:30-00:30\n  maintenance_window: mon:00:00-mon:01:00",
        4,
        "metadata_database.maintenance_window",
        "overlaps `backup_window` 23:30-00:30",
    ),
    "a window over the end of the week": (
        "name: a\nmetadata_database:\n  backup_window: 00:00-01:00\n  maintenance_window: sun:23:45-mon:00:15",
        4,
        "metadata_database.maintenance_window",
        "overlaps",
    ),
    "a short window": (
        "name: a\nmetadata_database:\n  backup_window: 02:00-02:29",
        3,
        "metadata_database.backup_window",
        "has 29 minutes; the minimum is 30",
    ),
    "a short window of ElastiCache": (
        "name: a\nbroker:\n  kind: ELASTICACHE\n  maintenance_window: sun:05:00-sun:05:59",
        4,
        "broker.maintenance_window",
        "has 59 minutes; the minimum is 60",
    ),
    "a link-local VPC range": ("name: a\nnetwork:\n  vpc_cidr: 169.254.0.0/16", 3, "network.vpc_cidr", "RFC 1918"),
    "the same key twice": ("name: a\nmax_workers: 3\nmax_workers: 4", 3, "max_workers", "set twice"),
    "not YAML": ("name: a\n  b: c: d", 2, "", "invalid YAML"),
    "a list": ("- name: a", 1, "", "mapping of fields"),
    "nothing": ("", 1, "", "the file is empty; the minimum is"),
}


@pytest.mark.parametrize(("text", "line", "field", "message"), WRONG.values(), ids=WRONG.keys())
def test_an_invalid_file_has_an_error_with_line_and_fix(text: str, line: int, field: str, message: str) -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(text, FILE)
    problem = caught.value.problems[0]
    assert (problem.line, problem.field) == (line, field), f"the place is wrong: {problem}"
    assert message in problem.message, f"the message does not say what would be right: {problem}"
    assert str(problem).startswith(f"{FILE}:{line}: "), "editors jump to FILE:LINE"


@cache
def _schema_validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(json_schema()))


def _schema_accepts(data: object) -> bool:
    return _schema_validator().is_valid(json.loads(json.dumps(data)))  # tuples become lists


@pytest.mark.parametrize("text", [case[0] for case in WRONG.values()], ids=WRONG.keys())
def test_the_schema_refuses_what_a_single_field_refuses(text: str) -> None:
    try:
        data, _ = read_yaml(text, FILE)
        Environment.model_validate(data, strict=True)
    except EnvironmentFileError:
        return  # not YAML
    except ValidationError as error:
        kinds = {details["type"] for details in error.errors()}
        assert _schema_accepts(data) == (kinds == {"value_error"}), kinds


@pytest.mark.parametrize(
    "text",
    [
        "airflow_configuration_options: {core.parallelism: 64, core.load_examples: true, my_team.x: 0.5, my_team.y: a}",
        "tags: {Équipe: Été 1, 'a b': '', Name: x}",
        "metadata_database: {instances: 2}",
        "broker: {kind: ELASTICACHE}",
        "dag_s3_path: team/.hidden/..dags/a b",
        "source_bucket: arn:aws:s3:::bucket",
        "fleets: {x: {queues: [default], demand_metric: {namespace: Acme/Video, metric_name: Frames waiting}}}",
    ],
)
def test_validate_and_schema_accept(text: str) -> None:
    loads(LEAST_YAML + text, FILE)
    assert _schema_accepts(read_yaml(LEAST_YAML + text, FILE)[0])


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory", "right/UTC", "posix/UTC", "tzdata.zi"])
def test_a_time_zone_of_the_host_is_no_time_zone(zone: str) -> None:
    text = f"{LEAST_YAML}fleets:\n  x:\n    queues: [default]\n    schedule:\n"
    row = f"      - {{cron: '0 6 * * *', minutes: 60, min: 2, timezone: {zone}}}"
    with pytest.raises(EnvironmentFileError, match=r"timezone: is '.*', which is not in the IANA database"):
        loads(text + row, FILE)


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        yield from (found for part in _parts(field.annotation) for found in _models(part))


def _parts(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


RENAMED = [
    (model, name)
    for model in _models(Environment)
    for name, field in model.model_fields.items()
    if field.alias not in (None, name)
]


@pytest.mark.parametrize(("model", "name"), RENAMED, ids=[name for _, name in RENAMED])
def test_the_name_of_an_attribute_in_python_is_no_field(model: type[BaseModel], name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({name: None})
    assert ("extra_forbidden", (name,)) in [(details["type"], details["loc"]) for details in caught.value.errors()]


def test_the_number_of_errors_in_the_text_is_bounded() -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads(LEAST_YAML + "".join(f"unknown_{number}: 1\n" for number in range(4000)), FILE)
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) == 4000
    assert len(lines) == 51
    assert lines[-1] == "and 3950 more"


def test_a_message_begins_in_lower_case_or_with_a_name() -> None:
    names = re.compile(r"PUBLIC_ONLY |HTTPS |Fargate |`|[0-9]|[a-z]|'|\"|/")
    for text, _, _, _ in WRONG.values():
        with pytest.raises(EnvironmentFileError) as caught:
            loads(text, FILE)
        assert not [problem.message for problem in caught.value.problems if not names.match(problem.message)]


_TEXTS = st.text(st.sampled_from("aZ09-_./: \n\té🚀\x7f"), max_size=12)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": _TEXTS,
            "airflow_configuration_options": st.dictionaries(
                _TEXTS | st.just("my_team.x"), _TEXTS | st.booleans() | st.integers(0, 9) | st.none()
            ),
            "tags": st.dictionaries(_TEXTS, _TEXTS | st.integers(0, 9)),
            "fleets": st.dictionaries(
                _TEXTS,
                st.fixed_dictionaries(
                    {"queues": st.lists(_TEXTS, max_size=2)}, optional={"slots": st.integers(-1, 600)}
                ),
            ),
            "broker": st.fixed_dictionaries({}, optional={"kind": _TEXTS | st.sampled_from(["SQS", "ELASTICACHE"])}),
            "dag_s3_path": _TEXTS,
        },
    )
)
def test_validate_and_schema_agree_on_single_fields(changes: dict[str, object]) -> None:
    # A regular expression of Python takes `$` before a last line break; those of editors and of pydantic do not.
    text = json.dumps({"name": "example", "web_access": {"allow_http": True}, **changes}).replace("\\n", " ")
    kinds: set[str] = set()
    try:
        Environment.model_validate_json(text, strict=True)
    except ValidationError as error:
        kinds = {details["type"] for details in error.errors()}
    assert _schema_accepts(json.loads(text)) == (kinds <= {"value_error"}), (text, kinds)


def test_the_minimum_of_the_message_is_valid() -> None:
    loads(MINIMUM, FILE)


def test_only_validators_of_a_field_raise_an_error_without_a_field() -> None:
    for path in sorted((ROOT / "openmwaa/config").glob("*.py")):
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        raising = [function for function in functions if "raise ValueError(" in ast.unparse(function)]
        assert not [
            function.name
            for function in raising
            if "field_validator" not in "".join(map(ast.unparse, function.decorator_list))
            and f"AfterValidator({function.name})" not in path.read_text()
        ], f"{path.name}: raise FieldError, so that the error has the line of the field"


def test_all_errors_are_reported_in_the_order_of_the_file() -> None:
    with pytest.raises(EnvironmentFileError) as caught:
        loads("name: 5x\nregion: mars\nschedulers: 9\nx: 1", FILE)
    assert [problem.field for problem in caught.value.problems] == ["name", "region", "schedulers", "x"]


@given(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"\A[a-zA-Z][0-9a-zA-Z_-]{0,79}\Z"),
            "web_access": st.just({"allow_http": True}),
        },
        optional={
            "schedulers": st.integers(1, 5),
            "environment_class": st.sampled_from(sorted(ENVIRONMENT_CLASSES)),
            "min_workers": st.integers(1, 5),
            "max_workers": st.integers(5, 50),
            "tags": st.dictionaries(st.text("abc", min_size=1, max_size=9), st.text("xyz", max_size=9), max_size=5),
        },
    )
)
def test_an_environment_survives_a_round_trip(data: dict[str, object]) -> None:
    environment = loads(yaml.safe_dump(data), FILE)
    assert loads(yaml.safe_dump(as_data(environment)), FILE) == environment


def test_a_fleet_has_scaling_settings() -> None:
    text = """
        name: example
        web_access: {allow_http: true}
        fleets:
          default: {queues: [default], min: 0}
          nightly:
            queues: [nightly]
            capacity: FARGATE_SPOT
            schedule:
              - {cron: "30  22 * * 1-5", minutes: 90, min: 4, timezone: Europe/Zurich}
              - {cron: "0 0 1 * *", minutes: 10080, min: 10}
            fallback: {mode: fixed, count: 3, after_seconds: 60}
            desired_count_drift: adopt
        """
    environment = loads(text, FILE)
    plain, nightly = environment.fleets.values()
    assert (plain.min, plain.capacity, plain.schedule, plain.fallback.mode) == (0, "FARGATE", (), "hold")
    assert plain.desired_count_drift == "correct"
    assert [(minimum.cron, minimum.timezone) for minimum in nightly.schedule] == [
        ("30 22 * * 1-5", "Europe/Zurich"),
        ("0 0 1 * *", "UTC"),
    ]
    assert (nightly.capacity, nightly.desired_count_drift) == ("FARGATE_SPOT", "adopt")
    assert nightly.fallback == FleetFallback(mode="fixed", count=3, after_seconds=60)
    jsonschema.validate(yaml.safe_load(text), json.loads(json_schema()))
    assert loads(yaml.safe_dump(as_data(environment)), FILE) == environment


@pytest.mark.parametrize(
    ("option", "variable"),
    [
        ("core.parallelism", "AIRFLOW__CORE__PARALLELISM"),
        ("common.io.xcom_objectstorage_path", "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"),
        (
            "celery_broker_transport_options.visibility_timeout",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT",
        ),
    ],
)
def test_options_become_airflows_variables(option: str, variable: str) -> None:
    assert option_variable(option) == variable


def test_every_class_is_a_size_that_fargate_has() -> None:
    for environment_class in ENVIRONMENT_CLASSES.values():
        for size in (environment_class.worker, environment_class.scheduler, environment_class.webserver):
            assert size.memory in FARGATE_MEMORY[size.cpu], f"{environment_class.name} has the invalid size {size}"
    assert all(FARGATE_MEMORY.values())
