# SPDX-License-Identifier: Apache-2.0
"""Variables of the web server that say how users log in."""

from cdktf_app.base.resource_names import escape_template
from cdktf_app.base.stack_context import StackContext
from openmwaa.config.environment import Environment


def login_variables(context: StackContext) -> dict[str, str]:
    """Return the variables; `openmwaa_runtime.auth.settings` reads them."""
    environment, access = context.environment, context.environment.web_access
    if not access.uses_iam:
        return {"OPENMWAA_LOGIN": access.login}
    return {
        "OPENMWAA_LOGIN": access.login,
        "OPENMWAA_ENVIRONMENT_ARN": context.aws_scope.arn("airflow", f"environment/{environment.name}"),
        "OPENMWAA_ROLE_SOURCE": access.iam_login.role_source,
        "OPENMWAA_CLI_ROLE_SCOPING": str(access.iam_login.cli_role_scoping).lower(),
        "OPENMWAA_PROXY_HOPS": str(_proxy_hops(environment)),
        **{name: escape_template(text) for name, text in access.iam_login.tables.items()},
    }


def _proxy_hops(environment: Environment) -> int:
    """Return the number of own proxies that every request passes.

    CloudFront is one if its load balancer has no other clients: a client in the VPC could write CloudFront's entry.
    """
    return 2 if environment.has_cloudfront and not environment.has_private_web else 1
