# SPDX-License-Identifier: Apache-2.0
"""The services' own rules for text in the file: the pattern, the rule in words for the error, and the source."""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints


@dataclass(frozen=True)
class TextRule:
    """The rule of a field; `words` ends a sentence that starts with "it must be", `source` is a member of an API."""

    pattern: str
    words: str
    source: str


RULES: Final[dict[str, TextRule]] = {}
"""Every rule by its pattern, which pydantic's error contains."""


def text(pattern: str, words: str, source: str, most: int | None = None) -> StringConstraints:
    """Return the constraint of a field, and keep its rule for the error."""
    RULES[pattern] = TextRule(pattern, words, source)
    return StringConstraints(pattern=pattern, max_length=most)


def _arn(service: str, resource: str, words: str, source: str) -> StringConstraints:
    return text(rf"^arn:aws[a-z-]*:{service}:[a-z0-9-]+:\d{{12}}:{resource}$", f"the ARN of {words}", source)


def _iam_arn(account: str, resource: str, words: str, source: str) -> StringConstraints:
    return text(rf"^arn:aws[a-z-]*:iam::{account}:{resource}/[A-Za-z0-9_+=,.@/-]+$", f"the ARN of {words}", source)


_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_HOST: Final = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
# S3 takes any text as a key; the syncer writes it as a path, in which `//`, `.` and `..` have a meaning.
_CHARACTER: Final = r"[^/\x00-\x1f\x7f]"
_FOLDER: Final = rf"([^/.\x00-\x1f\x7f]{_CHARACTER}*|\.[^/.\x00-\x1f\x7f]{_CHARACTER}*|\.\.{_CHARACTER}+)"
_FOLDER_WORDS: Final = "a folder of the bucket without s3://, a slash at either end, `//`, `.` and `..`"
# The pattern refuses ASCII's other characters; letters beyond ASCII have no common syntax in patterns of JSON Schema.
_TAG: Final = r"[^\x00-\x1f!-*,;<>?\[-^`{-\x7f]"
TAG_SYMBOLS: Final = "_.:/=+-@"
TAG_WORDS: Final = f"letters, digits, spaces and `{TAG_SYMBOLS}`"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d"
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = f"({'|'.join(DAYS)})"
_WEEK: Final = rf"^{_DAY}:{_TIME}-{_DAY}:{_TIME}$"
_IMAGE: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*([/:@][A-Za-z0-9._-]+)*$"
_ANY_BUCKET: Final = rf"^(arn:aws[a-z-]*:s3:::)?{_BUCKET}$"
_GIT_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_GIT_REF: Final = r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*"
_GIT_URL: Final = (
    rf"^git\+(https|ssh)://([A-Za-z0-9._-]+@)?{_GIT_HOST}(\.{_GIT_HOST})*(:\d{{1,5}})?"
    r"(/([A-Za-z0-9._~+-]|%[0-9A-Fa-f]{2})+)+"
    rf"@[A-Za-z0-9_]{_GIT_REF.replace(']+', ']*', 1)}(/{_GIT_REF})*(#{_FOLDER}(/{_FOLDER})*)?$"
)
_GIT_WORDS: Final = "git+https://HOST/REPOSITORY@BRANCH or git+ssh://git@HOST/…, with #FOLDER or without, no password"
_LIKE: Final = r"[A-Za-z0-9_+=,.@*-]{1,128}"
# As `PrincipalPattern` of the web server reads them; a test compares both.
_PRINCIPAL: Final = (
    rf"^arn:aws[a-z-]*:(iam::[0-9]{{12}}:(user/([!-.0-9;-~]+/)*{_LIKE}|root"
    r"|role/([!-)+-.0-~]+/)*[A-Za-z0-9_+=,.@-]{1,128})"
    rf"|sts::[0-9]{{12}}:(assumed-role/{_LIKE}/{_LIKE}|federated-user/{_LIKE}))$"
)
_PRINCIPAL_WORDS: Final = (
    "the ARN of a user, role, session (assumed-role), federated user or root user of one account; `*` is allowed in "
    "names, but not in a role: write arn:aws:sts::ACCOUNT:assumed-role/NAME*/*"
)
_NAMING: Final = "S3 user guide, bucketnamingrules"
_POOL_CLIENT: Final = "cognito-idp DescribeUserPoolClient ClientId"

# Of the environment.
EnvironmentName = Annotated[
    str, text(r"^[a-zA-Z][0-9a-zA-Z_-]{0,79}$", "a letter, then letters, digits, `-` and `_`; at most 80", "mwaa Name")
]
OptionKey = Annotated[
    str, text(r"^[a-z]+[a-z0-9_]*\.[a-z0-9._]*[a-z0-9_]$", "`section.key` in lower case", "mwaa ConfigKey")
]
OPTION_VALUE: Final = text(r"^[ -~]*$", "printable ASCII in one line", "mwaa ConfigValue", 65_536)
FolderName = Annotated[str, text(rf"^{_FOLDER}(/{_FOLDER})*$", _FOLDER_WORDS, "mwaa DagS3Path", 1024)]
GitUrl = Annotated[str, text(_GIT_URL, _GIT_WORDS, "pip, VCS Support", 512)]
KnownHosts = Annotated[str, text(r"^[ -~\n]*$", "lines of printable ASCII", "sshd, known_hosts", 4096)]
TagKey = Annotated[str, text(rf"^{_TAG}{{1,127}}$", f"1 to 127 {TAG_WORDS}", "ec2 Tag Key")]
TagValue = Annotated[str, text(rf"^{_TAG}{{0,256}}$", f"at most 256 {TAG_WORDS}", "iam TagValueType")]
FleetName = Annotated[
    str, text(r"^[a-z][a-z0-9-]{0,19}$", "a lower-case letter, then letters, digits, `-`; at most 20", "ecs")
]
DagTag = Annotated[str, text(r"^[^\x00-\x1f\x7f]{1,100}$", "a tag of at most 100 characters", "airflow DagTag")]
BundleName = Annotated[
    str, text(r"^[A-Za-z0-9_.-]{1,250}$", "letters, digits, `_`, `.`, `-`; at most 250", "airflow DagBundleModel")
]
QueueName = Annotated[
    str, text(r"^[A-Za-z0-9_-]{1,40}$", "letters, digits, `_`, `-`, at most 40, not a FIFO queue", "sqs")
]
ImageTag = Annotated[
    str, text(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", "letters, digits, `_`, `.`, `-`; at most 128", "ecr")
]
ImageReference = Annotated[
    str, text(_IMAGE, "an image without scheme, such as registry.example.com/airflow:1", "ecs", 255)
]

# Of AWS resources.
Region = Annotated[str, text(r"^[a-z]{2}(-[a-z]+)+-\d$", "an AWS Region, such as eu-central-1", "account RegionName")]
BucketName = Annotated[
    str, text(rf"^{_BUCKET}$", "3 to 63 of a-z, 0-9, `.`, `-`, at its ends a letter or digit", _NAMING)
]
AnyBucket = Annotated[str, text(_ANY_BUCKET, "the name or ARN of a bucket, without s3:// and without a path", _NAMING)]
ObjectKey = Annotated[
    str, text(r"^[^/\s]\S*$", "an object key without blanks and without a slash first", "s3 Key", 1024)
]
ObjectVersion = Annotated[str, text(r"^[!-~]+$", "the version id of an object", "mwaa S3ObjectVersion", 1024)]
KmsKey = Annotated[str, _arn("kms", "key/[A-Za-z0-9-]+", "a KMS key (not of an alias)", "kms DescribeKey KeyId")]
SecretArn = Annotated[str, _arn("secretsmanager", "secret:[A-Za-z0-9/_+=.@!-]+", "a secret", "secretsmanager SecretId")]
TopicArn = Annotated[str, _arn("sns", "[A-Za-z0-9_-]{1,256}", "an SNS topic, not FIFO", "cloudwatch AlarmActions")]
CertificateArn = Annotated[str, _arn("acm", "certificate/[A-Za-z0-9-]+", "an ACM certificate", "acm CertificateArn")]
PoolArn = Annotated[str, _arn("cognito-idp", r"userpool/[\w-]+", "a Cognito user pool", "elbv2 AuthenticateCognito")]
RoleArn = Annotated[str, _iam_arn(r"\d{12}", "role", "an IAM role", "mwaa IamRoleArn")]
PolicyArn = Annotated[str, _iam_arn(r"(\d{12}|aws)", "policy", "an IAM policy", "iam AttachRolePolicy PolicyArn")]
RolePath = Annotated[
    str, text(r"^/([!-~]+/)?$", "a path with a slash at both ends, such as /data/", "iam pathType", 512)
]
RolePrefix = Annotated[
    str, text(r"^[A-Za-z0-9_+=,.@-]{0,20}$", "letters, digits and `_+=,.@-`; at most 20", "iam RoleName")
]
PrincipalText = Annotated[str, text(_PRINCIPAL, _PRINCIPAL_WORDS, "iam Principal", 512)]
AccountId = Annotated[str, text(r"^[0-9]{12}$", "the 12 digits of an account, quoted", "sts Account")]
_ISSUER: Final = r"^https://[a-z0-9-]+\.tokens\.sts\.([a-z0-9-]+\.)+[a-z]+$"
TokenIssuerUrl = Annotated[
    str, text(_ISSUER, "an address such as https://UUID.tokens.sts.global.api.aws", "iam IssuerIdentifier")
]
VpcId = Annotated[str, text(r"^vpc-[0-9a-f]{8,17}$", "the id of a VPC, such as vpc-0a1b2c3d", "ec2 VpcId")]
SubnetId = Annotated[
    str, text(r"^subnet-[0-9a-f]{8,17}$", "the id of a subnet, such as subnet-0a1b2c3d", "ec2 SubnetId")
]
SecurityGroupId = Annotated[
    str, text(r"^sg-[0-9a-f]{8,17}$", "the id of a security group, such as sg-0a1b2c3d", "ec2 GroupId")
]
Domain = Annotated[str, text(rf"^{_HOST}$", "a domain name, such as airflow.example.com", "acm DomainName", 64)]
HttpsUrl = Annotated[str, text(r"^https://[^\s/]+(/\S*)?$", "an address with https://", "elbv2 AuthenticateOidc")]
HostedZone = Annotated[
    str, text(r"^Z[A-Z0-9]{4,31}$", "the id of a hosted zone, such as Z0123456789ABC", "route53 ResourceId")
]
PoolClient = Annotated[str, text(r"^[\w+]{1,128}$", "the id of a client of the pool", _POOL_CLIENT)]
PoolDomain = Annotated[
    str,
    text(r"^[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?$", "a domain or its prefix, without https://", "cognito-idp Domain"),
]
Email = Annotated[str, text(r"^\S+@\S+\.\S+$", "an email address", "sns Subscribe Endpoint")]
_METRIC_WORDS: Final = "printable ASCII, at most 255, without `:` or a blank at its start"
MetricNamespace = Annotated[str, text(r"^[!-9;-~][ -~]{0,254}$", _METRIC_WORDS, "cloudwatch Namespace, DimensionName")]
DimensionName = MetricNamespace
MetricName = Annotated[str, text(r"^[!-~][ -~]{0,254}$", "printable ASCII, at most 255", "cloudwatch MetricName")]
DimensionValue = Annotated[
    str, text(r"^[!-~][ -~]{0,1023}$", "printable ASCII, at most 1024", "cloudwatch DimensionValue")
]
PostgresVersion = Annotated[
    str, text(r"^1[5-7](\.\d{1,2})?$", "PostgreSQL 15, 16 or 17, or a minor version", "rds EngineVersion")
]
InstanceClass = Annotated[str, text(r"^db\.[a-z0-9]+\.[a-z0-9]+$", "such as db.t4g.medium", "rds DBInstanceClass")]
NodeType = Annotated[
    str, text(r"^cache\.[a-z0-9]+\.[a-z0-9]+$", "such as cache.t4g.small", "elasticache CacheNodeType")
]
HostName = Annotated[str, text(r"^[A-Za-z0-9.-]{1,255}$", "a host name without port", "RFC 1123")]
DailyWindow = Annotated[str, text(rf"^{_TIME}-{_TIME}$", "in UTC, such as 02:00-03:00", "rds PreferredBackupWindow")]
WeeklyWindow = Annotated[str, text(_WEEK, "in UTC, such as sun:04:00-sun:05:00", "rds PreferredMaintenanceWindow")]
