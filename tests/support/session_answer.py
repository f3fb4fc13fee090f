# SPDX-License-Identifier: Apache-2.0
"""A handler's answer about the session of a token in the body, in both versions of Airflow."""

from openmwaa_runtime.auth.airflow_port import AirflowPort
from openmwaa_runtime.auth.errors import AuthError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest

PATH = "/aws_mwaa/session"


def session_answer(airflow: AirflowPort, request: HttpRequest) -> HttpAnswer:
    """The status, and the caller with the role."""
    try:
        session = airflow.session(request.body.decode())
    except AuthError as error:
        return HttpAnswer.of_json(200, [error.status])
    return HttpAnswer.of_json(200, [200, session.principal.arn, session.role])
