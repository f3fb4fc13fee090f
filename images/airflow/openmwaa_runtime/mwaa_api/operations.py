# SPDX-License-Identifier: Apache-2.0
"""What each of the 12 operations does. IAM's action of an operation is `airflow:NAME`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from openmwaa_runtime.auth.access import RequestContext
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.logins import Logins
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.mwaa_api.environment import BoundsRefusedError, EnvironmentDescription, LiveEnvironment
from openmwaa_runtime.mwaa_api.rest_api import AirflowCall, api_path, api_query, api_result
from openmwaa_runtime.mwaa_api.service_model import ApiError, invalid

_BY_TERRAFORM = "change environment.yaml and run `openmwaa deploy` or `terraform apply`"
FIELDS: Mapping[str, str] = {
    "ExecutionRoleArn": "execution_role_arn",
    "AirflowConfigurationOptions": "airflow_configuration_options",
    "AirflowVersion": "airflow_version",
    "DagS3Path": "dag_s3_path",
    "EnvironmentClass": "environment_class",
    "LoggingConfiguration": "logging_configuration",
    "MaxWebservers": "max_webservers",
    "MinWebservers": "min_webservers",
    "NetworkConfiguration": "network.security_group_ids",
    "PluginsS3Path": "plugins_s3_path",
    "PluginsS3ObjectVersion": "plugins_s3_object_version",
    "RequirementsS3Path": "requirements_s3_path",
    "RequirementsS3ObjectVersion": "requirements_s3_object_version",
    "Schedulers": "schedulers",
    "SourceBucketArn": "source_bucket",
    "StartupScriptS3Path": "startup_script_s3_path",
    "StartupScriptS3ObjectVersion": "startup_script_s3_object_version",
    "WebserverAccessMode": "webserver_access_mode",
    "WeeklyMaintenanceWindowStart": "metadata_database.maintenance_window",
}
"""Member of UpdateEnvironment -> field of the environment file."""

_CHECK_THEMSELVES = frozenset({"CreateCliToken", "CreateWebLoginToken", "InvokeRestApi"})
"""Operations that need a role, or whose check is a part of making the token."""


@dataclass(frozen=True)
class ApiCall:
    """A call of a proven caller."""

    principal: Principal
    context: RequestContext
    values: Mapping[str, Any]
    """The members of the input."""


class Operations:
    """The operations of one environment."""

    def __init__(
        self,
        *,
        environment: EnvironmentArn,
        description: EnvironmentDescription,
        logins: Logins,
        live: LiveEnvironment,
        call_airflow: AirflowCall,
        api_prefix: str,
    ) -> None:
        self._environment = environment
        self._description = description
        self._logins = logins
        self._live = live
        self._call_airflow = call_airflow
        self._api_prefix = api_prefix
        self._run: Mapping[str, Callable[[ApiCall], dict[str, Any]]] = {
            "CreateCliToken": self._create_cli_token,
            "CreateEnvironment": self._create_environment,
            "CreateWebLoginToken": self._create_web_login_token,
            "DeleteEnvironment": self._delete_environment,
            "GetEnvironment": self._get_environment,
            "InvokeRestApi": self._invoke_rest_api,
            "ListEnvironments": self._list_environments,
            "ListTagsForResource": self._list_tags,
            "PublishMetrics": self._publish_metrics,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "UpdateEnvironment": self._update_environment,
        }

    def run(self, name: str, call: ApiCall) -> dict[str, Any]:
        """Return the output of an operation.

        Raises:
            ApiError: the answer is an error of the API.
            AccessDeniedError: IAM does not allow the call.
            AuthUnavailableError: IAM, the database or Airflow does not answer.
        """
        if name not in _CHECK_THEMSELVES:
            self._logins.policy.allow(call.principal, f"airflow:{name}", call.context)
        if name != "CreateEnvironment":
            self._check_resource(call.values)
        return self._run[name](call)

    def _check_resource(self, values: Mapping[str, Any]) -> None:
        name = values.get("Name", values.get("EnvironmentName", self._environment.name))
        arn = values.get("ResourceArn", str(self._environment))
        if (name, arn) != (self._environment.name, str(self._environment)):
            raise ApiError(
                "ResourceNotFoundException",
                f"this is the API of the environment {self._environment.name}; each environment has its own address",
            )

    def _get_environment(self, _: ApiCall) -> dict[str, Any]:
        environment = self._description.with_live(self._live)
        if created := environment.get("CreatedAt"):
            environment["CreatedAt"] = datetime.fromisoformat(created).timestamp()
        return {"Environment": environment}

    def _list_environments(self, call: ApiCall) -> dict[str, Any]:
        if call.values.get("NextToken"):
            raise invalid("NextToken is not one of this API: it lists one environment")
        return {"Environments": [self._environment.name]}

    def _list_tags(self, _: ApiCall) -> dict[str, Any]:
        return {"Tags": self._tags}

    def _tag(self, call: ApiCall) -> dict[str, Any]:
        if call.values["Tags"].items() <= self._tags.items():
            return {}
        raise invalid(f"tags are the field `tags` of the file; {_BY_TERRAFORM}")

    def _untag(self, call: ApiCall) -> dict[str, Any]:
        if self._tags.keys().isdisjoint(call.values["tagKeys"]):
            return {}
        raise invalid(f"tags are the field `tags` of the file; {_BY_TERRAFORM}")

    @property
    def _tags(self) -> dict[str, str]:
        return dict(self._description.members().get("Tags", {}))

    def _create_web_login_token(self, call: ApiCall) -> dict[str, Any]:
        token, _ = self._logins.web_token(call.principal, None, call.context)
        return {
            "WebToken": token,
            "WebServerHostname": self._logins.web_server_hostname,
            "IamIdentity": call.principal.arn.split(":", 5)[5],
            "AirflowIdentity": call.principal.user_name,
        }

    def _create_cli_token(self, call: ApiCall) -> dict[str, Any]:
        token, _ = self._logins.cli_token(call.principal, call.context)
        return {"CliToken": token, "WebServerHostname": self._logins.web_server_hostname}

    def _invoke_rest_api(self, call: ApiCall) -> dict[str, Any]:
        path = api_path(self._api_prefix, call.values["Path"])
        query = api_query(call.values.get("QueryParameters", {}))
        body = json.dumps(call.values["Body"]).encode() if "Body" in call.values else b""
        try:
            role = self._logins.policy.role(call.principal, "airflow:InvokeRestApi", None, call.context).role
        except AccessDeniedError as error:
            # MwaaHook falls back to a web login at "Airflow role" in the text.
            raise AccessDeniedError(f"No Airflow role granted in IAM. {error}") from error
        return api_result(*self._call_airflow(call.principal, role, call.values["Method"], path, query, body))

    def _publish_metrics(self, _: ApiCall) -> dict[str, Any]:
        return {}  # the model: "Data set for this type will be ignored"

    def _create_environment(self, _: ApiCall) -> dict[str, Any]:
        raise invalid(
            "an environment is created from a file: run `openmwaa init` and `openmwaa deploy`; the documentation has "
            "the fields of CreateEnvironment in `Coming from MWAA`"
        )

    def _delete_environment(self, _: ApiCall) -> dict[str, Any]:
        raise invalid("an environment is deleted with its Terraform: run `openmwaa destroy` or `terraform destroy`")

    def _update_environment(self, call: ApiCall) -> dict[str, Any]:
        known = self._description.members()
        members = {name: value for name, value in call.values.items() if name != "Name" and value != known.get(name)}
        # Workers always end their tasks, as with GRACEFUL; the request for a FORCED replacement changes nothing here.
        members.pop("WorkerReplacementStrategy", None)
        bounds = {name: members.pop(name, None) for name in ("MinWorkers", "MaxWorkers")}
        if members:
            fields = ", ".join(f"{name} is `{FIELDS[name]}`" for name in sorted(members))
            raise invalid(f"only MinWorkers and MaxWorkers change at once; {fields}: {_BY_TERRAFORM}")
        if any(value is not None for value in bounds.values()):
            self._override(bounds["MinWorkers"], bounds["MaxWorkers"], call.principal.arn)
        return {"Arn": str(self._environment)}

    def _override(self, minimum: int | None, maximum: int | None, by: str) -> None:
        fleets = list(self._live.bounds())
        if not fleets:
            raise ApiError("ServiceUnavailableException", "the scaler does not answer; try again")
        if len(fleets) > 1:
            raise invalid(f"which fleet? run `openmwaa scale --fleet NAME`; the fleets are {', '.join(fleets)}")
        try:
            self._live.set_override(fleets[0], minimum=minimum, maximum=maximum, by=by)
        except BoundsRefusedError as error:
            raise invalid(str(error)) from error
