# SPDX-License-Identifier: Apache-2.0
"""Rules of AWS that no pattern expresses: of tags, and of ARNs in another Region or partition."""

import unicodedata
from collections.abc import Mapping
from typing import Final

from openmwaa.config.strict_model import FieldError
from openmwaa.config.text_rules import text

OWN_TAGS: Final = ("Name", "openmwaa:environment")
"""Tags that the stack adds to each resource, at most."""
MAX_TAGS: Final = 50 - len(OWN_TAGS)
"""AWS's limit of a resource (Tagging AWS Resources user guide, "Tag naming limits") without the stack's own tags."""
_TAG_SYMBOLS: Final = "_.:/=+-@"
# The pattern refuses ASCII's other characters; letters beyond ASCII have no common syntax in patterns of JSON Schema.
_TAG: Final = r"[^\x00-\x1f!-*,;<>?\[-^`{-\x7f]"
_TAG_WORDS: Final = f"letters, digits, spaces and `{_TAG_SYMBOLS}`"
TAG_KEY: Final = text(rf"^{_TAG}{{1,128}}$", f"1 to 128 {_TAG_WORDS}", "iam TagKeyType")
TAG_VALUE: Final = text(rf"^{_TAG}{{0,256}}$", f"at most 256 {_TAG_WORDS}", "iam TagValueType")


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise FieldError for a tag that one of the services refuses."""
    keys: dict[str, str] = {}
    for key, value in tags.items():
        _check_tag_text(key, key)
        _check_tag_text(value, key)
        if key in OWN_TAGS or key.lower().startswith("openmwaa:"):
            raise FieldError(f"`{key}` is a tag of the stack; use another key", key)
        if other := keys.get(key.lower()):
            raise FieldError(f"`{other}` and `{key}` are one key for IAM (rule: iam TagRole); remove one", key)
        keys[key.lower()] = key


def _check_tag_text(tag: str, key: str) -> None:
    if tag.lower().startswith("aws:"):
        raise FieldError(f"{tag!r} starts with `aws:`, which is reserved for AWS (rule: iam TagResource)", key)
    for character in tag:
        if unicodedata.category(character)[0] not in "LNZ" and character not in _TAG_SYMBOLS:
            raise FieldError(f"contains {character!r}; a tag has {_TAG_WORDS} (rule: iam TagKeyType)", key)


def check_arn(field: str, arn: str, *, partition: str, region: str) -> None:
    """Raise FieldError if `arn` is of another partition, or of another Region than `region`."""
    _, arn_partition, _, arn_region, *_ = arn.split(":")
    if arn_partition != partition:
        raise FieldError(
            f"`{field}` is in the partition {arn_partition}; {region} is in {partition}", *field.split(".")
        )
    if arn_region not in ("", region):  # IAM and S3 have no Region
        raise FieldError(f"`{field}` is in {arn_region}; the service needs one in {region}", *field.split("."))
