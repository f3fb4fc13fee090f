# SPDX-License-Identifier: Apache-2.0
"""Rules of AWS that no pattern expresses: of tags, of ARNs in another Region or partition, of task definitions."""

import json
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Final

from pydantic_core import to_jsonable_python

from openmwaa.config.fleet import ResolvedFleet
from openmwaa.config.regions import region_table
from openmwaa.config.strict_model import FieldError
from openmwaa.config.text_rules import TAG_SYMBOLS, TAG_WORDS

OWN_TAGS: Final = ("Name", "openmwaa:environment")
"""Tags that the stack adds to each resource, at most."""
MAX_TAGS: Final = 50 - len(OWN_TAGS)
"""AWS's limit of a resource (Tagging AWS Resources user guide, "Tag naming limits") without the stack's own tags."""
MAX_TASK_DEFINITION: Final = 65_536
"""Bytes of a task definition as JSON (ECS developer guide, "Service quotas"); AWS does not raise it."""
TASK_DEFINITION_ROOM: Final = MAX_TASK_DEFINITION - 16_384
"""Without what the file does not lengthen; a test measures that with the longest names."""
CONTAINER_ROOM: Final = 5_120
"""What each component adds to the task of a COMPACT control plane; the same test measures it."""

MAX_ROLE_POLICY: Final = 10_240
"""Characters of a role's inline policies (IAM user guide, "IAM and AWS STS quotas"); AWS does not raise it."""
POLICY_ROOM: Final = {"worker": MAX_ROLE_POLICY - 4_864, "scaler": MAX_ROLE_POLICY - 2_032}
"""Without the statements that every environment has; a test measures them with the longest names and Regions."""
SLEEP_STATEMENTS: Final = 2_176
"""Characters, at most, of the scaler's statements for sleep; the same test measures them."""
_LONGEST_QUEUE_NAME: Final = 80
_READ_METRICS: Final = 102
"""The scaler's statement for the demand metrics of fleets."""


def policy_sizes(
    name: str, region: str, fleets: Collection[ResolvedFleet], *, has_sqs: bool, sleeps: bool
) -> dict[str, int]:
    """Return the characters, at most, of all queues and fleets in the policy of each role that names them."""
    arn = len(f'"arn:{region_table().partitions.get(region, "aws")}:sqs:{region}::",') + 12
    words = [len(f"airflow-celery-{name}--") + 8 + len(queue) for fleet in fleets for queue in fleet.queues]
    queues = sum(arn + min(_LONGEST_QUEUE_NAME, length) for length in words) * has_sqs
    services = sum(arn + len(f"service/openmwaa-{name}/worker--?") + len(fleet.name) for fleet in fleets)
    metrics = _READ_METRICS * any(fleet.demand_metric for fleet in fleets)
    return {"worker": queues, "scaler": queues + services + metrics + SLEEP_STATEMENTS * sleeps}


def check_policies(name: str, region: str, fleets: Collection[ResolvedFleet], *, has_sqs: bool, sleeps: bool) -> None:
    """Raise FieldError if the policies that name every queue and every fleet do not fit into their roles."""
    for role, size in policy_sizes(name, region, fleets, has_sqs=has_sqs, sleeps=sleeps).items():
        if size > POLICY_ROOM[role]:
            raise FieldError(
                f"the names of all queues and fleets take {size} characters in the policy of the {role}'s role, and at "
                f"most {POLICY_ROOM[role]} fit; use fewer or shorter ones, or broker ELASTICACHE, whose queues are in "
                f"no policy (rule: iam PutRolePolicy, {MAX_ROLE_POLICY} characters)",
                "fleets",
            )


def task_definition_sizes(
    options: Mapping[str, str],
    fleets: Collection[ResolvedFleet],
    components: int = 1,
    login: Collection[str] = (),
    tags: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Return the bytes, at most, of the fleets and of the options in the task definition that contains them.

    The scheduler is one of `components` in its task; these and `prepare-database` have the same variables. The web
    server has the tables of `login`, and for MWAA's API the tags and the names of the options once more: `web`.
    """
    urls = sum(170 + len(queue) for fleet in fleets for queue in fleet.queues)
    # SCALER_CONFIG is JSON in a text; beside these fields a fleet has the names of its services there.
    written = (json.dumps(to_jsonable_python(asdict(fleet))) for fleet in fleets)
    settings = urls + sum(60 + 2 * len(fleet.name) for fleet in fleets) + sum(map(_json_bytes, written))
    values = sum(len('{"name":"AIRFLOW____","value":},') + len(key) + _json_bytes(options[key]) for key in options)
    return {
        "scaler": settings,
        "scheduler": (1 + components) * (urls + values),
        "web-server": urls + values,
        "web": sum(map(_json_bytes, login)) + _json_bytes(json.dumps([[*options], tags or {}])),
    }


def check_task_definitions(
    options: Mapping[str, str],
    fleets: Collection[ResolvedFleet],
    service_of: Mapping[str, str],
    login: Collection[str],
    tags: Mapping[str, str],
) -> None:
    """Raise FieldError if the options or the fleets do not fit into the task definition that contains them."""
    service = service_of["scheduler"]
    others = [*service_of.values()].count(service) - 1
    sizes = task_definition_sizes(options, fleets, 1 + others, login, tags)
    sizes["web-server" if service_of["web-server"] != service else "scheduler"] += sizes["web"]
    more = "; or write `control_plane: SEPARATE`" if others else ""
    field = "airflow_configuration_options" if options else "tags" if tags else "fleets"
    room = TASK_DEFINITION_ROOM - others * CONTAINER_ROOM
    for what, task, of, most, at, instead in (
        ("the fleets", "scaler", "scaler", TASK_DEFINITION_ROOM, "fleets", ""),
        ("the options, all queues and the tags", "scheduler", service, room, field, more),
        # Without `prepare-database`, which the scheduler has.
        (
            *("the options, all queues and the tags", "web-server", "web-server"),
            *(TASK_DEFINITION_ROOM + CONTAINER_ROOM, field, ""),
        ),
    ):
        if (size := sizes[task]) > most:
            raise FieldError(
                f"{what} take {size} bytes in the {of}'s task definition, and at most {most} fit{instead} "
                f"(rule: ecs RegisterTaskDefinition, {MAX_TASK_DEFINITION} bytes)",
                at,
            )


def _json_bytes(text: str) -> int:
    # Terraform's jsonencode writes `<`, `>` and `&` as six characters.
    return len(json.dumps(text)) + 5 * sum(map(text.count, "<>&"))


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise FieldError for a tag that one of the services refuses."""
    keys: dict[str, str] = {}
    for key, value in tags.items():
        _check_tag_text(key, key)
        _check_tag_text(value, key)
        if key.lower().startswith("openmwaa:"):
            raise FieldError(f"`{key}` is a tag of the stack; use another key", key)
        if other := keys.get(key.lower()):
            raise FieldError(f"`{other}` and `{key}` are one key for IAM (rule: iam TagRole); remove one", key)
        keys[key.lower()] = key


def _check_tag_text(tag: str, key: str) -> None:
    if tag.lower().startswith("aws:"):
        raise FieldError(f"{tag!r} starts with `aws:`, which is reserved for AWS (rule: iam TagResource)", key)
    for character in tag:
        if unicodedata.category(character)[0] not in "LNZ" and character not in TAG_SYMBOLS:
            raise FieldError(f"contains {character!r}; a tag has {TAG_WORDS} (rule: iam TagKeyType)", key)


def check_arns(value: object, region: str, *at: int | str) -> None:
    """Raise FieldError for an ARN below `value` that is of another partition, or of another Region than `region`."""
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            check_arns(item, region, *at, key)
    elif isinstance(value, str) and value.startswith("arn:"):
        _, arn_partition, _, arn_region, *_ = value.split(":")
        if arn_partition != (partition := region_table().partitions.get(region, arn_partition)):
            raise FieldError(f"{value} is in the partition {arn_partition}; {region} is in {partition}", *at)
        if arn_region not in ("", region):  # IAM and S3 have no Region
            raise FieldError(f"{value} is in {arn_region}; the service needs one in {region}", *at)
