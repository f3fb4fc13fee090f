# SPDX-License-Identifier: Apache-2.0
"""The artefacts of an environment in its bucket: each plan reads their versions, so a new object is a new revision."""

from cdktn import Postcondition, TerraformResourceLifecycle
from cdktn_provider_aws.data_aws_s3_object import DataAwsS3Object
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.resource_names import escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.storage.dag_bucket import DagBucket
from openmwaa.config.artefacts import OWN_FOLDER


class Artefacts(Construct):
    """The objects, as ARNs and as variables of the containers; empty if the environment has none."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext, bucket: DagBucket) -> None:
        super().__init__(scope, construct_id)
        environment = context.environment
        self.variables: dict[str, str] = {}
        self.arns: list[str] = []
        own = f"{OWN_FOLDER}/{escape_template(environment.name)}/requirements/*"
        self.built_arn = f"{bucket.bucket_arn}/{own}" if "requirements" in environment.artefacts else None
        """The installed requirements, which `prepare-artefacts` writes."""
        self.architectures = ",".join(environment.architectures)
        if self.built_arn:
            self.architectures = overridable_local(self, "architectures", self.architectures)
        for kind, artefact in environment.artefacts.items():
            key = escape_template(artefact.path)
            found = DataAwsS3Object(
                self,
                kind,
                bucket=bucket.bucket_name,
                key=key,
                version_id=artefact.version,
                # Without a range the state would contain the whole text, which may have the password of an index.
                range="bytes=0-0",
                lifecycle=TerraformResourceLifecycle(postcondition=[_is_versioned(kind)]),
            )
            self.arns.append(f"{bucket.bucket_arn}/{key}")
            self.variables[f"OPENMWAA_{kind.upper()}_KEY"] = key
            self.variables[f"OPENMWAA_{kind.upper()}_VERSION"] = found.version_id


def _is_versioned(kind: str) -> Postcondition:
    return Postcondition(
        condition='${!contains(["", "null"], coalesce(self.version_id, "null"))}',
        error_message=f"{kind}_s3_path: the bucket keeps no versions. Turn on versioning, and upload the object again.",
    )
