# SPDX-License-Identifier: Apache-2.0
"""Rules of AWS that no pattern expresses: of tags, and of ARNs in another Region or partition."""

import unicodedata
from collections.abc import Mapping
from typing import Final

from openmwaa.config.regions import region_table
from openmwaa.config.strict_model import FieldError
from openmwaa.config.text_rules import TAG_SYMBOLS, TAG_WORDS

OWN_TAGS: Final = ("Name", "openmwaa:environment")
"""Tags that the stack adds to each resource, at most."""
MAX_TAGS: Final = 50 - len(OWN_TAGS)
"""AWS's limit of a resource (Tagging AWS Resources user guide, "Tag naming limits") without the stack's own tags."""


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
