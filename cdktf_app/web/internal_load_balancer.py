# SPDX-License-Identifier: Apache-2.0
"""The load balancer inside the VPC: execution API, scaler page, private web access."""

from constructs import Construct

from cdktf_app.web.load_balancer import LoadBalancer, LoadBalancerProps
from cdktf_app.web.target_groups import EXECUTION, SCALER
from openmwaa.config.ports import EXECUTION_API_PORT, HTTPS_PORT, SCALER_PORT, WEB_PORT


class InternalLoadBalancer(LoadBalancer):
    """An internal application load balancer; `web` and `execution_api` add listeners of these components."""

    def __init__(
        self, scope: Construct, construct_id: str, *, props: LoadBalancerProps, web: bool, execution_api: bool
    ) -> None:
        super().__init__(scope, construct_id, props, internal=True)
        # Only /execution/: DAG code must not use the API server's other paths.
        paths = ["/execution/*"]
        self.execution_api = self._target(EXECUTION, EXECUTION_API_PORT, paths=paths) if execution_api else None
        self.scaler = self._target(SCALER, SCALER_PORT, paths=["/", "/v1/*", "/metrics"])
        web_port = WEB_PORT if props.certificate_arn is None else HTTPS_PORT
        self.web = self._target(props.web, web_port) if web else None
