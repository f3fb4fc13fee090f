# SPDX-License-Identifier: Apache-2.0
"""The services' own rules for text in the file: the pattern, the rule in words for the error, and the source."""

from dataclasses import dataclass
from typing import Final

from pydantic import StringConstraints


@dataclass(frozen=True)
class TextRule:
    """The rule of a field."""

    pattern: str
    words: str
    """The end of a sentence that starts with "it must be"."""
    source: str
    """The API member or the AWS page with the rule; `openmwaa` for a rule of its own."""


RULES: Final[dict[str, TextRule]] = {}
"""Every rule by its pattern, which pydantic's error contains."""


def text(pattern: str, words: str, source: str, *, max_length: int | None = None) -> StringConstraints:
    """Return the constraint of a field, and keep its rule for errors and the reference page."""
    RULES[pattern] = TextRule(pattern, words, source)
    return StringConstraints(pattern=pattern, max_length=max_length)


def arn(service: str, resource: str, words: str, source: str) -> StringConstraints:
    """Return the constraint of an ARN with Region and account."""
    return text(rf"^arn:aws[a-z-]*:{service}:[a-z0-9-]+:\d{{12}}:{resource}$", words, source)


KMS_KEY: Final = arn("kms", "key/[A-Za-z0-9-]+", "the ARN of a KMS key (not of an alias)", "kms DescribeKey KeyId")
SECRET: Final = arn(
    "secretsmanager",
    "secret:[A-Za-z0-9/_+=.@-]+",
    "the ARN of a Secrets Manager secret",
    "secretsmanager GetSecretValue SecretId",
)
REGION: Final = text(
    r"^[a-z]{2}(-[a-z]+)+-\d$", "an AWS Region, such as eu-central-1", "account Region codes, AWS General Reference"
)
SECURITY_GROUP: Final = text(
    r"^sg-[0-9a-f]{8,17}$", "the id of a security group, such as sg-0a1b2c3d", "ec2 resource ids"
)
BUCKET_NAME: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
BUCKET: Final = text(
    rf"^{BUCKET_NAME}$",
    "a bucket's name: 3 to 63 lower-case letters, digits, `.` and `-`, first and last a letter or digit",
    "S3 user guide, bucketnamingrules",
)
