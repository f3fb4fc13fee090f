# SPDX-License-Identifier: Apache-2.0
"""The 12 operations, called by botocore's own client. Its requests go to the handler instead of the network."""

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from openmwaa.config.environment import Environment
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.tokens import Purpose
from openmwaa_runtime.errors import UsageError
from openmwaa_runtime.mwaa_api.app import PATH
from openmwaa_runtime.mwaa_api.environment import EnvironmentDescription, WorkerBounds
from openmwaa_runtime.mwaa_api.operations import FIELDS
from openmwaa_runtime.mwaa_api.rest_api import api_path
from openmwaa_runtime.mwaa_api.service_model import ApiError, operations, service_model
from tests.support.aws_signature import sign
from tests.support.mwaa_api import (
    ACCOUNT,
    ARN,
    CALLER,
    DESCRIPTION,
    MEMBERS,
    NAME,
    NOW,
    REFUSED,
    REGION,
    WEB_URL,
    PlayedEnvironment,
)
from tools.mwaa_api_reference import ERRORS

SESSION = Session()  # one, because it reads its data files once
ENVIRONMENT_SHAPE: Any = service_model().shape_for("Environment")
READS = {"GetEnvironment", "ListEnvironments", "ListTagsForResource"}


class Client:
    """botocore's client of one environment."""

    def __init__(
        self, environment: PlayedEnvironment, *, inject_host_prefix: bool = False, principal: Principal = CALLER
    ) -> None:
        self.environment = environment
        self.requests: list[HttpRequest] = []
        keys = environment.credentials(principal)
        self._client: Any = SESSION.create_client(
            "mwaa",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            region_name=REGION,
            endpoint_url=WEB_URL + PATH,
            config=Config(inject_host_prefix=inject_host_prefix, retries={"total_max_attempts": 1}),
        )
        self._client.meta.events.register("before-send.mwaa", self._send)

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
        now = datetime.fromtimestamp(self.environment.now or 0, UTC).replace(tzinfo=None)
        with patch("botocore.auth.get_current_datetime", return_value=now):
            answer: dict[str, Any] = getattr(self._client, method)(**members)
        assert answer.pop("ResponseMetadata")["RequestId"]
        return answer

    def error(self, operation: str, **members: Any) -> Any:
        with pytest.raises(ClientError) as caught:
            self.call(operation, **members)
        found: Any = caught.value.response
        found["Error"]["Type"] = type(caught.value).__name__
        return found

    def _send(self, request: Any, **_: Any) -> Any:
        url, body = urlsplit(request.url), request.body or b""
        values = [(name.lower(), v.decode() if isinstance(v, bytes) else v) for name, v in request.headers.items()]
        sent = HttpRequest(
            request.method,
            url.path,
            url.query,
            [("host", url.netloc), *values],
            body if isinstance(body, bytes) else body.encode(),
            "203.0.113.7",
        )
        self.requests.append(sent)
        answer = self.environment.api.handle(sent)
        headers: Any = {name.lower(): value for name, value in answer.headers.items()}
        found: Any = AWSResponse(request.url, answer.status, headers, None)
        found._content = answer.body
        return found


@pytest.fixture
def environment() -> PlayedEnvironment:
    return PlayedEnvironment()


@pytest.fixture
def client(environment: PlayedEnvironment) -> Client:
    return Client(environment)


def test_the_members_here_are_for_all_operations_of_the_model() -> None:
    assert set(MEMBERS) == set(service_model().operation_names)


@pytest.mark.parametrize("inject", [False, True], ids=["one name", "host prefixes"])
@pytest.mark.parametrize("operation", sorted(MEMBERS))
def test_operation_is_answered_or_refused(operation: str, environment: PlayedEnvironment, *, inject: bool) -> None:
    client = Client(environment, inject_host_prefix=inject)
    if operation in REFUSED:
        error = client.error(operation, **MEMBERS[operation])["Error"]
        assert error["Type"] == "ValidationException"
    else:
        client.call(operation, **MEMBERS[operation])
    prefix = client.requests[0].header("host") != "airflow.example.com"
    assert prefix == inject


@pytest.mark.parametrize("operation", sorted(MEMBERS))
def test_operation_needs_its_iam_action(operation: str, client: Client) -> None:
    action = f"airflow:{operation}"
    client.environment.access.denied = {action}
    response = client.error(operation, **MEMBERS[operation])
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert response["Error"]["Type"] in {"AccessDeniedException", "ClientError"}  # not each models it
    assert response["Error"]["Code"] == "AccessDeniedException"
    assert action in response["Error"]["Message"]
    assert client.environment.access.asked == [action]
    line = client.environment.audit[-1]
    assert (line["event"], line["outcome"], line["principal"]) == (f"mwaa:{operation}", "denied", CALLER.arn)


@pytest.mark.parametrize("operation", sorted(set(MEMBERS) - {"ListEnvironments", "CreateEnvironment"}))
def test_another_environment_is_not_found(operation: str, client: Client) -> None:
    other = str(ARN).replace(NAME, "another")
    members = {k: other if v == str(ARN) else "another" if v == NAME else v for k, v in MEMBERS[operation].items()}
    response = client.error(operation, **members)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (
        "ResourceNotFoundException",
        404,
    )


@pytest.mark.parametrize("operation", sorted(set(MEMBERS) - READS - {"InvokeRestApi"}))
def test_a_replayed_change_is_refused(operation: str, client: Client) -> None:
    getattr(client, "error" if operation in REFUSED else "call")(operation, **MEMBERS[operation])
    again = client.environment.api.handle(client.requests[0])
    assert again.status == 429
    assert b"sent before" in again.body


@pytest.mark.parametrize("operation", sorted(READS))
def test_a_replayed_read_is_answered(operation: str, client: Client) -> None:
    client.call(operation, **MEMBERS[operation])
    assert client.environment.api.handle(client.requests[0]).status == 200
    assert client.environment.audit == []


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 429), ("PATCH", 429), ("DELETE", 429)])
def test_a_replayed_rest_call_is_refused_unless_it_reads(method: str, status: int, client: Client) -> None:
    client.call("InvokeRestApi", Name=NAME, Path="/dags", Method=method)
    assert client.environment.api.handle(client.requests[0]).status == status


def test_the_environment_has_what_the_file_and_the_moment_determine(client: Client) -> None:
    found = client.call("GetEnvironment", Name=NAME)["Environment"]
    expected = {
        **DESCRIPTION,
        "WebserverUrl": "airflow.example.com",
        "CreatedAt": datetime(2026, 12, 1, 10, 20, 30, tzinfo=UTC),
        "AirflowConfigurationOptions": {"core.default_task_retries": "2"},
        "Status": "AVAILABLE",
        "MinWorkers": 1,
        "MaxWorkers": 10,
    }
    assert found == expected
    # What MWAA has and this environment has not: AWS's side of its VPC endpoints, its service-linked role.
    assert set(ENVIRONMENT_SHAPE.members) - set(found) == {
        *("DatabaseVpcEndpointService", "EndpointManagement", "LastUpdate", "ServiceRoleArn"),
        *("PluginsS3ObjectVersion", "PluginsS3Path", "RequirementsS3ObjectVersion", "RequirementsS3Path"),
        *("StartupScriptS3ObjectVersion", "StartupScriptS3Path", "WebserverVpcEndpointService"),
    }


def test_an_environment_without_heartbeat_is_unavailable(client: Client) -> None:
    client.environment.live.has_heartbeat = False
    assert client.call("GetEnvironment", Name=NAME)["Environment"]["Status"] == "UNAVAILABLE"


def test_workers_are_left_out_if_the_scaler_does_not_answer(client: Client) -> None:
    client.environment.live.fleets = {}
    assert "MinWorkers" not in client.call("GetEnvironment", Name=NAME)["Environment"]
    error = client.error("UpdateEnvironment", Name=NAME, MinWorkers=3)["Error"]
    assert error["Type"] == "ServiceUnavailableException"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"AirflowConfigurationOptions": ["core.parallelism"]}'])
def test_a_description_that_is_none_stops_the_start(text: str) -> None:
    with pytest.raises(UsageError, match="OPENMWAA_MWAA_ENVIRONMENT"):
        EnvironmentDescription(text, {})


def test_environments_are_listed_in_one_page(client: Client) -> None:
    assert client.call("ListEnvironments", MaxResults=1) == {"Environments": [NAME]}
    assert client.error("ListEnvironments", NextToken="next")["Error"]["Type"] == "ValidationException"
    assert client.error("ListEnvironments", MaxResults=26)["Error"]["Type"] == "ValidationException"


def test_tags_are_those_of_the_file(client: Client) -> None:
    assert client.call("ListTagsForResource", ResourceArn=str(ARN)) == {"Tags": {"team": "data"}}
    # Nothing changes, so nothing is refused.
    assert client.call("TagResource", ResourceArn=str(ARN), Tags={"team": "data"}) == {}
    assert client.call("UntagResource", ResourceArn=str(ARN), tagKeys=["absent"]) == {}
    assert "`tags`" in client.error("UntagResource", ResourceArn=str(ARN), tagKeys=["team"])["Error"]["Message"]


def test_a_web_token_has_the_highest_role(client: Client) -> None:
    found = client.call("CreateWebLoginToken", Name=NAME)
    claims = client.environment.tokens.redeem(Purpose.WEB, found.pop("WebToken"))
    assert (claims.principal, claims.role) == (CALLER, AirflowRole.OP)
    assert found == {
        "WebServerHostname": "airflow.example.com",
        "IamIdentity": "assumed-role/Operators/jane",
        "AirflowIdentity": "role:Operators:jane",
    }


def test_a_cli_token_has_the_role_that_limits_it(client: Client) -> None:
    found = client.call("CreateCliToken", Name=NAME)
    claims = client.environment.tokens.redeem(Purpose.CLI, found["CliToken"])
    assert (claims.principal, claims.role) == (CALLER, AirflowRole.OP)
    assert found["WebServerHostname"] == "airflow.example.com"
    line = client.environment.audit[-1]
    assert (line["event"], line["outcome"], line["source_ip"]) == ("mwaa:CreateCliToken", "allowed", "203.0.113.7")
    assert found["CliToken"] not in json.dumps(client.environment.audit)


def test_metrics_are_validated_and_ignored(client: Client) -> None:
    datum = {"MetricName": "a", "Timestamp": datetime(2027, 1, 1, tzinfo=UTC), "Unit": "Count", "Value": 1.5}
    assert client.call("PublishMetrics", EnvironmentName=NAME, MetricData=[datum]) == {}
    wrong = {**datum, "Unit": "Parsec"}
    assert client.error("PublishMetrics", EnvironmentName=NAME, MetricData=[wrong])["Error"]["Code"] == (
        "ValidationException"
    )


def test_workers_are_changed_by_an_override(client: Client) -> None:
    assert client.call("UpdateEnvironment", Name=NAME, MinWorkers=3) == {"Arn": str(ARN)}
    assert client.environment.live.overrides == [("default", 3, None, CALLER.arn)]
    assert client.call("GetEnvironment", Name=NAME)["Environment"]["MinWorkers"] == 3


def test_an_override_that_is_not_valid_is_refused(client: Client) -> None:
    error = client.error("UpdateEnvironment", Name=NAME, MinWorkers=11)["Error"]
    assert (error["Type"], "must not be above" in error["Message"]) == ("ValidationException", True)
    assert client.environment.live.overrides == []


def test_an_update_of_several_fleets_names_the_command(client: Client) -> None:
    client.environment.live.fleets["gpu"] = WorkerBounds(0, 2)
    error = client.error("UpdateEnvironment", Name=NAME, MinWorkers=3)["Error"]
    assert "openmwaa scale --fleet NAME" in error["Message"]
    assert client.call("GetEnvironment", Name=NAME)["Environment"]["MaxWorkers"] == 12


def test_other_fields_are_refused_with_the_field_of_the_file(client: Client) -> None:
    message = client.error("UpdateEnvironment", Name=NAME, Schedulers=3, MaxWorkers=5)["Error"]["Message"]
    assert "Schedulers is `schedulers`" in message
    assert client.environment.live.overrides == []


def test_an_update_that_changes_nothing_is_accepted(client: Client) -> None:
    same = {"Schedulers": 2, "DagS3Path": "dags", "WorkerReplacementStrategy": "GRACEFUL"}
    assert client.call("UpdateEnvironment", Name=NAME, **same) == {"Arn": str(ARN)}
    assert client.environment.live.overrides == []


def test_each_member_of_an_update_has_its_field_of_the_file() -> None:
    members = set(service_model().operation_model("UpdateEnvironment").input_shape.members)  # type: ignore[union-attr]
    assert members - {"Name", "MinWorkers", "MaxWorkers", "WorkerReplacementStrategy"} == set(FIELDS)
    assert {field.partition(".")[0] for field in FIELDS.values()} <= set(Environment.model_fields)


# InvokeRestApi.


def test_a_rest_call_reaches_airflow_as_it_was_sent(client: Client) -> None:
    path = "/dags/a_dag_with_a_name_of_more_than_sixty_four_characters/dagRuns/manual__2027-01-01T00:00:00+00:00"
    found = client.call(
        "InvokeRestApi",
        Name=NAME,
        Path=path,
        Method="POST",
        QueryParameters={"limit": 5, "tags": ["a", "b&c=d"], "paused": False},
        Body={"conf": {"é": [1, None]}},
    )
    assert found["RestApiStatusCode"] == 200
    assert found["RestApiResponse"]["state"] == "success"
    (sent,) = client.environment.airflow.calls
    assert sent.path == f"/api/v2{path}"
    assert sent.query == "limit=5&tags=a&tags=b%26c%3Dd&paused=false"
    assert (sent.role, sent.method, sent.body) == (AirflowRole.OP, "POST", {"conf": {"é": [1, None]}})
    line = client.environment.audit[-1]
    assert (line["event"], line["method"], line["outcome"]) == ("mwaa:InvokeRestApi", "POST", "allowed")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/dags/a%20b", "/dags/a%20b"),
        ("/dags/a b", "/dags/a%20b"),
        ("/dags/é", "/dags/%C3%A9"),
        ("/dags/x/", "/dags/x/"),
        ("/variables/a/b", "/variables/a/b"),
        ("/dags/..a", "/dags/..a"),
    ],
)
def test_a_path_is_encoded_once(given: str, sent: str, client: Client) -> None:
    client.call("InvokeRestApi", Name=NAME, Path=given, Method="GET")
    assert client.environment.airflow.calls[0].path == f"/api/v2{sent}"


@pytest.mark.parametrize(
    "path",
    [
        *("dags", "https://evil.example.com/", "//evil.example.com/", "/dags//x", "/../auth/token", "/dags/../../auth"),
        *("/dags/..", "/./dags", "/dags/%2e%2e/x", "/dags/%2E./x", "/dags/%252e%252e/x", "/dags/a%2fb", "/dags/a%2Fb"),
        *("/dags\\..\\x", "/dags/%5c", "/dags?limit=1", "/dags%3Flimit", "/dags#x", "/dags%23", "/dags/..;/x"),
        *("/dags/%00", "/dags/\r\nHost: x", "/dags/%0d%0aHost", "/dags/%", "/dags/%zz", "/dags/%ff", "/dags/ .. /x"),
        *("/dags/%2e%2e;a/x", "", " /dags"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str, environment: PlayedEnvironment) -> None:
    with pytest.raises(ApiError) as caught:
        api_path("/api/v2", path)
    assert caught.value.code == "ValidationException"
    if path:  # botocore refuses an empty one itself
        assert Client(environment).error("InvokeRestApi", Name=NAME, Path=path, Method="GET")
        assert environment.airflow.calls == []


@pytest.mark.parametrize("parameters", [["limit=1"], {"a": {"b": 1}}, {"a": None}, {"a": [[1]]}, "limit=1"])
def test_a_query_of_other_types_is_refused(parameters: Any, client: Client) -> None:
    error = client.error("InvokeRestApi", Name=NAME, Path="/dags", Method="GET", QueryParameters=parameters)["Error"]
    assert error["Type"] == "ValidationException"


def test_a_method_outside_the_model_is_refused(client: Client) -> None:
    error = client.error("InvokeRestApi", Name=NAME, Path="/dags", Method="TRACE")["Error"]
    assert (error["Type"], "GET, PUT, POST, PATCH, DELETE" in error["Message"]) == ("ValidationException", True)


@pytest.mark.parametrize(
    ("status", "body", "error", "answer"),
    [
        (404, b'{"detail": "no such DAG"}', "RestApiClientException", {"detail": "no such DAG"}),
        (307, b"", "RestApiClientException", {}),
        (503, b"gone", "RestApiServerException", "gone"),
    ],
)
def test_airflows_error_has_its_status_and_answer(
    status: int, body: bytes, error: str, answer: Any, client: Client
) -> None:
    client.environment.airflow.answers["/api/v2/dags/x"] = (status, body)
    response = client.error("InvokeRestApi", Name=NAME, Path="/dags/x", Method="GET")
    assert response["Error"]["Type"] == error
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (response["RestApiStatusCode"], response["RestApiResponse"]) == (status, answer)


@pytest.mark.parametrize(("body", "answer"), [(b"", {}), (b"one\ntwo", "one\ntwo"), (b"[1]", [1])])
def test_answers_of_other_types_are_passed_on(body: bytes, answer: Any, client: Client) -> None:
    client.environment.airflow.answers["/api/v2/dags"] = (204, body)
    found = client.call("InvokeRestApi", Name=NAME, Path="/dags", Method="GET")
    assert (found["RestApiStatusCode"], found["RestApiResponse"]) == (204, answer)


def test_an_answer_may_be_larger_than_six_megabytes(client: Client) -> None:
    client.environment.airflow.answers["/api/v2/dags"] = (200, json.dumps("x" * 8_000_000).encode())
    assert len(client.call("InvokeRestApi", Name=NAME, Path="/dags", Method="GET")["RestApiResponse"]) == 8_000_000


def test_a_caller_without_a_role_is_answered_in_mwaas_words(client: Client) -> None:
    client.environment.access.granted = None
    error = client.error("InvokeRestApi", **MEMBERS["InvokeRestApi"])["Error"]
    assert error["Message"].startswith("No Airflow role granted in IAM. ")


# Errors of the protocol.


def test_an_outage_of_the_database_refuses_changes_only(client: Client) -> None:
    client.call("GetEnvironment", Name=NAME)
    client.environment.store.is_away = True
    response = client.error("CreateCliToken", Name=NAME)
    assert response["Error"]["Code"] == "ServiceUnavailableException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert client.environment.audit[-1]["outcome"] == "unavailable"
    assert client.call("GetEnvironment", Name=NAME)


def test_an_unexpected_error_has_no_detail(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.environment.live, "healthy", lambda: 1 / 0)
    response = client.error("GetEnvironment", Name=NAME)
    assert response["Error"]["Type"] == "InternalServerException"
    assert "zero" not in json.dumps(response["Error"])


def test_a_caller_that_is_not_proven_learns_nothing_and_is_recorded(client: Client) -> None:
    request = HttpRequest("GET", f"{PATH}/environments", "", [("host", "airflow.example.com")], b"", "203.0.113.9")
    answer = client.environment.api.handle(request)
    assert answer.status == 403
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    line = client.environment.audit[-1]
    assert (line["outcome"], line["source_ip"], "principal" in line) == ("denied", "203.0.113.9", False)


def test_keys_of_an_iam_user_name_the_user(environment: PlayedEnvironment) -> None:
    user = Principal.read(f"arn:aws:iam::{ACCOUNT}:user/team/jane", Proof.STS)
    found = Client(environment, principal=user).call("CreateWebLoginToken", Name=NAME)
    assert (found["IamIdentity"], found["AirflowIdentity"]) == ("user/team/jane", "jane")


def _signed(environment: PlayedEnvironment, method: str, path: str, body: bytes) -> HttpRequest:
    return sign(method, WEB_URL + path, body, keys=environment.credentials(), at=NOW)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"{PATH}/environments", b"", 404),
        ("GET", f"{PATH}/unknown", b"", 404),
        ("GET", f"{PATH}/environments?MaxResults=x", b"", 400),
        ("GET", f"{PATH}/environments?MaxResults=1&MaxResults=2", b"", 400),
        ("GET", f"{PATH}/environments/{NAME}%2F..", b"", 400),
        ("POST", f"{PATH}/restapi/{NAME}", b"not JSON", 400),
        ("POST", f"{PATH}/restapi/{NAME}", b"[]", 400),
        ("POST", f"{PATH}/restapi/{NAME}", b'{"Path": "/dags"}', 400),
        ("POST", f"{PATH}/restapi/{NAME}", b'{"Path": "/dags", "Method": "GET", "Method": "POST"}', 400),
        ("POST", f"{PATH}/restapi/{NAME}", b'{"Path": ["/dags"], "Method": "GET"}', 400),
        ("POST", f"{PATH}/restapi/{NAME}", b'{"Path": "/dags", "Method": "GET", "More": 1}', 400),
        ("POST", f"{PATH}/restapi/{NAME}", b'{"Path": "/dags/\\ud800", "Method": "GET"}', 400),
        ("PATCH", f"{PATH}/environments/{NAME}", b'{"MinWorkers": true}', 400),
        ("PATCH", f"{PATH}/environments/{NAME}", b'{"MinWorkers": 0}', 400),
        ("PATCH", f"{PATH}/environments/{NAME}", b'{"Unknown": 1}', 400),
    ],
)
def test_a_request_outside_the_model_is_refused(
    method: str, path: str, body: bytes, status: int, environment: PlayedEnvironment
) -> None:
    assert environment.api.handle(_signed(environment, method, path, body)).status == status
    assert environment.airflow.calls == []


def test_each_operation_of_the_model_has_one_route() -> None:
    routes = {(operation.model.http["method"], operation.path.pattern) for operation in operations()}
    assert len(routes) == 12


def test_each_error_of_the_model_has_a_test_here() -> None:
    errors = {error.name for operation in operations() for error in operation.model.error_shapes}
    assert errors == set(ERRORS)
    assert set(ERRORS.values()) <= globals().keys()
