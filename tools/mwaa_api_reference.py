# SPDX-License-Identifier: Apache-2.0
"""The page of MWAA's API: botocore's model, and what this environment answers; each operation is called for it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openmwaa_runtime.mwaa_api.operations import FIELDS
from openmwaa_runtime.mwaa_api.service_model import Operation, operations, service_model
from tests.support.aws_signature import request_of
from tests.support.mwaa_api import PlayedEnvironment

TESTS: Final = "tests/unit/openmwaa_runtime/mwaa_api/test_operations.py"
ERRORS: Final[Mapping[str, str]] = {
    "AccessDeniedException": "test_operation_needs_its_iam_action",
    "InternalServerException": "test_an_unexpected_error_has_no_detail",
    "ResourceNotFoundException": "test_another_environment_is_not_found",
    "RestApiClientException": "test_airflows_error_has_its_status_and_answer",
    "RestApiServerException": "test_airflows_error_has_its_status_and_answer",
    "ServiceUnavailableException": "test_an_outage_of_the_database_refuses_changes_only",
    "ValidationException": "test_a_request_outside_the_model_is_refused",
}
"""Error of the model -> the test that gets it."""
_ABSENT: Final[Mapping[str, str]] = {
    "DatabaseVpcEndpointService": "the database is in your VPC",
    "EndpointManagement": "no endpoint is between AWS's VPC and yours",
    "LastUpdate": "`openmwaa status` has the rollouts of the services",
    "ServiceRoleArn": "there is no service-linked role of MWAA",
    "WebserverVpcEndpointService": "the web server is in your VPC",
}
_IF_SET: Final = ("PluginsS3", "RequirementsS3", "StartupScriptS3")


def page() -> str:
    """Return the page."""
    lines = [
        "# MWAA's API",
        "",
        "Written by `make docs` from botocore's model of `mwaa`; the results are those of calls at that moment. The",
        f"tests are in `{TESTS}`. `tests/emulated/openmwaa_runtime/test_mwaa_clients.py`",
        "runs boto3 on all operations, and the AWS CLI (version 1), Airflow's provider and two other clients on",
        "those that they use.",
        "",
        "How to call it: [Use clients of MWAA](../how-to/mwaa-clients.md).",
        "",
        "## Operations",
        "",
        "IAM's action is `airflow:` and the name of the operation. `test_operation_is_answered_or_refused` calls each.",
        "",
        "| operation | route | answer | a signed request may be sent again |",
        "|---|---|---|---|",
        *(_operation(operation) for operation in operations()),
        "",
        "## Members of the input",
        "",
        "| operation | member | |",
        "|---|---|---|",
        *_input_members(),
        "",
        "## Members of `GetEnvironment`",
        "",
        "`test_the_environment_has_what_the_file_and_the_moment_determine` reads them.",
        "",
        "| member | |",
        "|---|---|",
        *_environment_members(),
        "",
        "## Errors",
        "",
        "| operation | error | HTTP | test |",
        "|---|---|---|---|",
        *_errors(),
        "",
        "Any operation can also be answered with `AccessDeniedException` (403), with `ServiceUnavailableException`",
        "(503: IAM or the database does not answer), and with AWS's errors of signatures (403), such as",
        "`InvalidSignatureException` and `ExpiredTokenException`.",
    ]
    return "\n".join(lines) + "\n"


def _answer(name: str) -> tuple[int, dict[str, Any]]:
    environment = PlayedEnvironment()
    answer = environment.api.handle(request_of(environment, name))
    return answer.status, json.loads(answer.body)


def _operation(operation: Operation) -> str:
    http, (status, content) = operation.model.http, _answer(operation.name)
    result = "answered" if status == 200 else f"refused: {content['message']}"  # noqa: PLR2004
    again = "if `Method` is GET" if operation.name == "InvokeRestApi" else "yes" if operation.reads else "no"
    return f"| `{operation.name}` | `{http['method']} {http['requestUri']}` | {result} | {again} |"


def _input_members() -> Iterator[str]:
    for operation in operations():
        status, _ = _answer(operation.name)
        for member in operation.model.input_shape.members if operation.model.input_shape else ():
            result = "answered" if status == 200 else "refused"  # noqa: PLR2004
            if operation.name == "UpdateEnvironment" and member in FIELDS:
                result = f"refused if it differs: the field `{FIELDS[member]}`"
            elif member in ("MinWorkers", "MaxWorkers") and operation.name == "UpdateEnvironment":
                result = "an override of the fleet, within seconds; refused with several fleets"
            elif member == "WorkerReplacementStrategy":
                result = "ignored: workers always end their tasks, as with GRACEFUL"
            elif member == "MetricData":
                result = "checked and ignored, as in the model"
            elif member == "Path":
                result = "answered; may have more than 64 characters"
            yield f"| `{operation.name}` | `{member}` | {result} |"


def _environment_members() -> Iterator[str]:
    _, content = _answer("GetEnvironment")
    shape: Any = service_model().shape_for("Environment")
    for member in shape.members:
        if member in content["Environment"]:
            result = "answered"
        elif member.startswith(_IF_SET):
            result = "answered if the file has it"
        else:
            result = f"absent: {_ABSENT[member]}"
        yield f"| `{member}` | {result} |"


def _errors() -> Iterator[str]:
    for operation in operations():
        for error in operation.model.error_shapes:
            status = error.metadata["error"]["httpStatusCode"]
            yield f"| `{operation.name}` | `{error.name}` | {status} | `{ERRORS[error.name]}` |"
