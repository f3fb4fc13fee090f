# SPDX-License-Identifier: Apache-2.0
"""The model of environment.yaml, with MWAA's names.

Fields of MWAA keep MWAA's name, default and limits (CreateEnvironment in botocore's model of `mwaa`).
`environment_file` reads the file and reports the line of each invalid field.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from openmwaa.config import control_plane, regions
from openmwaa.config.airflow_options import check_options
from openmwaa.config.airflow_schema import check_known
from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, DEFAULT_VERSION, AirflowMajor
from openmwaa.config.artefacts import OWN_FOLDER, ArtefactFields
from openmwaa.config.aws_limits import MAX_TAGS, check_arns, check_policies, check_tags, check_task_definitions
from openmwaa.config.broker import Broker, ElastiCache, Sqs
from openmwaa.config.control_plane import ControlPlane
from openmwaa.config.environment_classes import (
    ENVIRONMENT_CLASSES,
    Architecture,
    EnvironmentClass,
    Sizes,
)
from openmwaa.config.fleet import ClassName, FleetSpec, ResolvedFleet
from openmwaa.config.git_dags import Dags
from openmwaa.config.identity import Identity
from openmwaa.config.images import Images
from openmwaa.config.log_modules import LoggingConfiguration
from openmwaa.config.metadata_database import AuroraServerless, ExistingPostgresql, MetadataDatabase
from openmwaa.config.monitoring import Monitoring
from openmwaa.config.network import Network
from openmwaa.config.sleep import Sleep
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import (
    OPTION_VALUE,
    AnyBucket,
    BucketName,
    EnvironmentName,
    FleetName,
    FolderName,
    KmsKey,
    ObjectKey,
    OptionKey,
    Region,
    RoleArn,
    TagKey,
    TagValue,
)
from openmwaa.config.web_access import WebAccess

DEFAULT_QUEUE: Final = "default"

if TYPE_CHECKING:
    SupportedVersion = str
else:
    SupportedVersion = Literal[tuple(AIRFLOW_VERSIONS)]


def _option_text(value: object) -> object:
    """Return a YAML scalar in the format of Airflow's configuration: `True` for true, `5` for 5."""
    return str(value) if isinstance(value, bool | int | float) else value


OptionValue = Annotated[
    str,
    BeforeValidator(_option_text, json_schema_input_type=Annotated[str, OPTION_VALUE] | bool | int | float),
    OPTION_VALUE,
]


class ScalerTiming(StrictModel):
    """Timing and look-ahead of the scaler."""

    interval_seconds: Annotated[float, Field(ge=1, le=60)] = 5
    """Seconds between two scaling decisions."""
    scale_in_window_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    """A fleet scales in to the highest need of this many past seconds."""
    look_ahead: Literal["off", "shadow", "on"] = "shadow"
    """`on`: workers start for tasks that Airflow's plan lets expect. `shadow`: `explain` shows what it would do."""
    wait_worth: Annotated[float, Field(gt=0, le=1000)] = 3
    """How many worker-seconds the look-ahead spends so that a task waits one second less."""
    headroom: Literal["off", "on"] = "off"
    """`on`: the look-ahead also counts runs that people often start at this time of the day."""


class Rotation(StrictModel):
    """Versions of secrets; increase one by 1 for new values."""

    database_passwords: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Increase by 1 for new database passwords; running workers use the old ones until the next rotation."""
    dags_secret: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Increase by 1 after a change of the secret of `dags`; running workers keep the old one until they end."""


class TerraformState(StrictModel):
    """The S3 backend; `terraform/bootstrap` creates a bucket, or use your own."""

    bucket: BucketName
    region: Region | None = None
    """The bucket's Region; left out, the environment's."""
    key: ObjectKey | None = None
    """The object's key; left out, openmwaa/NAME.tfstate, or with `web_access.oidc` openmwaa-secret/NAME.tfstate."""
    kms_key: KmsKey | None = None
    """The KMS key of the state; left out, the bucket's default."""


class Environment(ArtefactFields):
    """One Airflow environment."""

    name: EnvironmentName
    """A letter, then letters, digits, `-` and `_`; at most 80 characters, as in MWAA."""
    airflow_version: SupportedVersion = DEFAULT_VERSION
    """The table of docs/reference/airflow-versions.md has what differs; a running environment keeps its version."""
    environment_class: ClassName = "mw1.small"
    """Size of scheduler, web server and workers; a fleet may set its own."""
    region: Region = "us-east-1"
    """An AWS Region, such as eu-central-1."""
    architecture: Architecture = "ARM64"
    """ARM64 (Graviton), or X86_64, which costs a quarter more; the images must match."""
    control_plane: ControlPlane = "COMPACT"
    """COMPACT: one ECS service for all components; SEPARATE: one for each, the default above mw1.small."""
    sizes: Sizes = Sizes()
    schedulers: Annotated[int, Field(ge=1, le=5)] = 2
    """Number of schedulers; of a COMPACT control plane, the number of its tasks."""
    min_webservers: Annotated[int, Field(ge=1, le=5)] = 2
    """Minimum number of web servers; more start above 70 % CPU or above 15 connections per server."""
    max_webservers: Annotated[int, Field(ge=1, le=5)] = 2
    """Maximum number of web servers; both only with `control_plane: SEPARATE`."""
    enable_execute_command: bool = False
    """ECS Exec into control plane tasks; not into workers, where it would bypass the limits of their role."""
    min_workers: Annotated[int, Field(ge=0, le=5000)] = 1
    """Minimum workers of a fleet without `min`; with 0, the first task waits for the start of a worker."""
    max_workers: Annotated[int, Field(ge=1, le=5000)] = 10
    """Maximum workers of a fleet without `max`."""
    webserver_access_mode: Literal["PRIVATE_ONLY", "PUBLIC_ONLY", "PUBLIC_AND_PRIVATE"] = "PRIVATE_ONLY"
    airflow_configuration_options: dict[OptionKey, OptionValue] = Field(default_factory=dict)
    """Airflow configuration options, `section.key: value`; they override the defaults of openmwaa."""
    logging_configuration: LoggingConfiguration = LoggingConfiguration()
    source_bucket: AnyBucket | None = None
    """The name or ARN of an existing S3 bucket; left out, the stack creates one."""
    source_bucket_force_destroy: bool = False
    """Whether a destroy deletes the objects in the stack's own bucket; otherwise it fails if there are any."""
    noncurrent_version_expiration_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Days after which the stack's own bucket deletes replaced and deleted versions."""
    dag_s3_path: FolderName = "dags"
    """A folder of the bucket without a slash at either end, such as dags."""
    dags: Dags | None = None
    """DAGs from git, such as git+https://github.com/org/repository@main#dags; left out, from the bucket."""
    execution_role_arn: RoleArn | None = None
    """The ARN of the role of Airflow tasks; left out, the stack creates one with MWAA's permissions."""
    kms_key: KmsKey | None = None
    """The ARN of a customer-managed KMS key; left out, the stack creates one."""
    network: Network = Network()
    web_access: WebAccess = WebAccess()
    metadata_database: MetadataDatabase = AuroraServerless()
    broker: Broker = Sqs()
    identity: Identity = Identity()
    rotation: Rotation = Rotation()
    monitoring: Monitoring = Monitoring()
    terraform_state: TerraformState | None = None
    """The S3 backend of Terraform's state; left out, the state is a local file."""
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=MAX_TAGS)
    """Tags of all resources: letters, digits, spaces and `_.:/=+-@`; at most 48, because the stack adds two."""
    fleet_specs: dict[FleetName, FleetSpec] = Field(default_factory=dict, alias="fleets")
    """Worker fleets by name; left out, one fleet `default` serves the queue `default`."""
    images: Images = Images()
    scaler: ScalerTiming = ScalerTiming()
    sleep: Sleep | None = None
    """Lets the environment sleep, by `openmwaa sleep` or by the clock; `{}` for only by command."""

    @model_validator(mode="before")
    @classmethod
    def _class_has_defaults(cls, data: Any) -> Any:
        return control_plane.with_class_defaults(data) if isinstance(data, dict) else data

    @field_validator("metadata_database", "broker", mode="before")
    @classmethod
    def _kind_may_be_left_out(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = {"metadata_database": "AURORA_SERVERLESS_V2", "broker": "SQS"}
        return {"kind": kinds[str(info.field_name)], **value} if isinstance(value, dict) else value

    @field_validator("source_bucket")
    @classmethod
    def _bucket_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "region" in info.data:
            check_arns(value, info.data["region"])  # here, because the name that is kept has no partition
        return value.rpartition(":")[2] if value else value

    @field_validator("airflow_configuration_options")
    @classmethod
    def _options_are_known(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if "airflow_version" in info.data:
            check_known(value, info.data["airflow_version"])
        return value

    @field_validator("tags")
    @classmethod
    def _tags_are_accepted(cls, value: dict[str, str]) -> dict[str, str]:
        check_tags(value)
        return value

    @model_validator(mode="after")
    def _fleets_are_consistent(self) -> Self:
        served: dict[str, str] = {}
        for fleet in self.fleets.values():
            self._check_bounds(fleet)
            for index, queue in enumerate(fleet.queues):
                if queue in served:
                    first = served[queue]
                    places = f"twice by the fleet {first}" if first == fleet.name else f"by {first} and {fleet.name}"
                    raise FieldError(
                        f"queue {queue} is served {places}; remove it from one place",
                        *("fleets", fleet.name, "queues", index),
                    )
                served[queue] = fleet.name
        if DEFAULT_QUEUE not in served:
            raise FieldError(
                f"no fleet serves the queue `{DEFAULT_QUEUE}`, which Airflow uses for tasks without a queue; "
                "add it to a fleet's `queues`",
                "fleets",
            )
        return self

    @model_validator(mode="after")
    def _fields_are_consistent(self) -> Self:
        self._check_components()
        self._check_places()
        self._check_limits()
        return self

    def _check_components(self) -> None:
        self.web_access.check(self.webserver_access_mode, region=self.region, network=self.network)
        if self.web_access.iam_login.dag_access and not self.airflow.has_execution_api:
            raise FieldError(
                f"Airflow {self.airflow_version} has no roles for single DAGs here; leave `dag_access` out, or use "
                "Airflow 3",
                *("web_access", "iam_login", "dag_access"),
            )
        control_plane.check(self.control_plane, self.airflow.components, self.model_fields_set, self.sizes)
        if self.min_webservers > self.max_webservers:
            raise FieldError(
                f"`min_webservers` ({self.min_webservers}) is greater than `max_webservers` ({self.max_webservers}); "
                "raise `max_webservers`",
                "min_webservers" if "min_webservers" in self.model_fields_set else "max_webservers",
            )
        if self.requirements_s3_path and self.dag_s3_path.partition("/")[0] == OWN_FOLDER:
            raise FieldError(f"the folder {OWN_FOLDER} has the installed requirements; use another one", "dag_s3_path")
        if self.execution_role_arn and self.identity.worker_policy_arns:
            raise FieldError(
                "`identity.worker_policy_arns` apply to the stack's own role; attach them to the role of "
                "`execution_role_arn` yourself, or leave that field out",
                *("identity", "worker_policy_arns"),
            )
        if self.leaves_snapshot and self.kms_key is None:
            raise FieldError(
                "`metadata_database.final_snapshot` needs a `kms_key`: a destroy deletes the environment's own key, "
                "and the snapshot would be unreadable",
                *("metadata_database", "final_snapshot"),
            )

    def _check_places(self) -> None:
        self.network.check_development(
            self.metadata_database, protects_load_balancers=self.web_access.deletion_protection
        )
        self.network.check(self.region, self.images.airflow, self.images.scaler)
        if self.dags:
            self.dags.check(self.network)
        regions.check(self.region, self.aws_services, self.network)
        check_arns(self.model_dump(exclude={"airflow_configuration_options", "tags", "terraform_state"}), self.region)
        if self.terraform_state:
            check_arns(
                self.terraform_state.model_dump(),
                self.terraform_state.region or self.region,
                "terraform_state",
            )
            if self.web_access.oidc and (self.terraform_state.key or "").startswith("openmwaa/"):
                raise FieldError(
                    "pull requests may read the states in openmwaa/, and with `web_access.oidc` the state has the "
                    "client's secret; leave `key` out, or begin it with openmwaa-secret/",
                    *("terraform_state", "key"),
                )
        if self.sleep:
            self.sleep.check(self.metadata_database)

    def _check_limits(self) -> None:
        check_options(
            self.airflow_configuration_options,
            queues=self.queues,
            has_sqs=isinstance(self.broker, Sqs),
            has_execution_api=self.airflow.has_execution_api,
        )
        check_policies(
            self.name,
            self.region,
            self.fleets.values(),
            has_sqs=isinstance(self.broker, Sqs),
            sleeps=self.sleep is not None,
        )
        check_task_definitions(
            # The keys of artefacts are variables of the same containers; those of git are in one of them.
            {
                **self.airflow_configuration_options,
                **{kind: path for kind, (path, _) in self.artefacts.items()},
                **({"dags": self.dags.url, "known_hosts": self.dags.known_hosts or ""} if self.dags else {}),
            },
            self.fleets.values(),
            self.service_of,
            self.web_access.iam_login.tables.values(),
            self.tags,
        )

    def _check_bounds(self, fleet: ResolvedFleet) -> None:
        """Raise FieldError if numbers of workers are inconsistent, at the field of the file that sets one of them."""
        spec = self.fleet_specs.get(fleet.name)
        at = ("fleets", fleet.name) if spec else ()
        if fleet.min > fleet.max:
            own = [field for field in ("min", "max") if spec and getattr(spec, field) is not None]
            raise FieldError(
                f"fleet {fleet.name}: the minimum ({fleet.min} workers) is greater than the maximum ({fleet.max}); "
                f"raise `{'max' if spec else 'max_workers'}`",
                *((*at, own[0]) if own else ("min_workers",)),
            )
        for index, minimum in enumerate(fleet.schedule):
            if not fleet.min < minimum.min <= fleet.max:
                raise FieldError(
                    f"fleet {fleet.name}: `min` of the schedule {minimum.cron!r} is {minimum.min}; it must be greater "
                    f"than the minimum ({fleet.min}) and at most the maximum ({fleet.max})",
                    *(*at, "schedule", index, "min"),
                )
        if (count := fleet.fallback.count) is not None and count > fleet.max:
            raise FieldError(
                f"fleet {fleet.name}: the fallback's `count` ({count}) is greater than the maximum ({fleet.max})",
                *(*at, "fallback", "count"),
            )

    @cached_property
    def size(self) -> EnvironmentClass:
        """The sizes of the environment class."""
        return ENVIRONMENT_CLASSES[self.environment_class]

    @cached_property
    def fleets(self) -> dict[str, ResolvedFleet]:
        """All fleets by name, with defaults resolved; there is at least one."""
        specs = self.fleet_specs or {"default": FleetSpec(queues=(DEFAULT_QUEUE,))}
        return {name: self._fleet(name, spec) for name, spec in specs.items()}

    def _fleet(self, name: str, spec: FleetSpec) -> ResolvedFleet:
        size = ENVIRONMENT_CLASSES[spec.environment_class] if spec.environment_class else self.size
        return ResolvedFleet(
            name=name,
            queues=spec.queues,
            cpu=spec.cpu or size.worker.cpu,
            memory=spec.memory or size.worker.memory,
            slots=spec.slots or size.slots,
            min=spec.min if spec.min is not None else self.min_workers,
            max=spec.max if spec.max is not None else self.max_workers,
            capacity=spec.capacity,
            architecture=spec.architecture or self.architecture,
            schedule=spec.schedule,
            fallback=spec.fallback,
            desired_count_drift=spec.desired_count_drift,
            demand_metric=spec.demand_metric,
        )

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures of all tasks of Airflow; the image must have each."""
        return tuple(sorted({self.architecture, *(fleet.architecture for fleet in self.fleets.values())}))

    @property
    def aws_services(self) -> frozenset[str]:
        """The AWS services that the environment uses, by their names in `regions.SERVICES`."""
        optional = {
            "api.ecr": not (self.images.airflow and self.images.scaler),
            "sqs": isinstance(self.broker, Sqs),
            "elasticache": isinstance(self.broker, ElastiCache),
            "rds": not isinstance(self.metadata_database, ExistingPostgresql),
            "application-autoscaling": self.scales_webservers,
            "sns": self.monitoring.alarms,
            "acm": self.web_access.domain is not None,
            "route53": self.web_access.hosted_zone_id is not None,
            "cognito-idp": self.web_access.cognito is not None,
            "cloudfront": self.has_cloudfront,
            "wafv2": self.has_cloudfront or self.has_public_load_balancer,
        }
        names = (service.endpoint for service in regions.SERVICES)
        return frozenset(name for name in names if optional.get(name, True))

    @property
    def services(self) -> Mapping[str, tuple[str, ...]]:
        """The ECS services of the control plane, each with the components in its task."""
        return control_plane.services(self.control_plane, self.airflow.components)

    @property
    def airflow(self) -> AirflowMajor:
        """What the major version of Airflow has."""
        return AIRFLOW_VERSIONS[self.airflow_version].major

    @property
    def service_of(self) -> dict[str, str]:
        """The ECS service of each component of the control plane."""
        return {component: service for service, components in self.services.items() for component in components}

    @property
    def queues(self) -> tuple[str, ...]:
        """All worker queues, in the order of the fleets."""
        return tuple(queue for fleet in self.fleets.values() for queue in fleet.queues)

    @property
    def has_demand_metrics(self) -> bool:
        """Whether a fleet has a CloudWatch metric as demand."""
        return any(fleet.demand_metric for fleet in self.fleets.values())

    @property
    def leaves_snapshot(self) -> bool:
        """Whether a destroy creates a final snapshot of the database."""
        database = self.metadata_database
        return not isinstance(database, ExistingPostgresql) and database.final_snapshot

    @property
    def total_slots(self) -> int:
        """The slots of all fleets at their maximum; Airflow's parallelism must not be lower."""
        return sum(fleet.max * fleet.slots for fleet in self.fleets.values())

    @property
    def scales_webservers(self) -> bool:
        """Whether web servers scale with their load."""
        return self.max_webservers > self.min_webservers

    @property
    def has_many_webservers(self) -> bool:
        """Whether there are always two or more web servers."""
        return self.min_webservers > 1

    @property
    def has_private_web(self) -> bool:
        """Whether the internal load balancer serves the web server."""
        return self.webserver_access_mode != "PUBLIC_ONLY"

    @property
    def has_public_load_balancer(self) -> bool:
        """Whether there is a public load balancer, which needs a domain."""
        return self.webserver_access_mode != "PRIVATE_ONLY" and self.web_access.domain is not None

    @property
    def has_cloudfront(self) -> bool:
        """Whether CloudFront is in front of the internal load balancer: public access without a domain."""
        return self.webserver_access_mode != "PRIVATE_ONLY" and self.web_access.domain is None


def option_variable(option: str) -> str:
    """Return the environment variable of an Airflow option: `common.io.a` is AIRFLOW__COMMON_IO__A."""
    section, _, key = option.rpartition(".")
    return f"AIRFLOW__{re.sub(r'[^A-Z0-9]', '_', section.upper())}__{key.upper()}"
