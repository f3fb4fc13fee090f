# SPDX-License-Identifier: Apache-2.0
"""The CloudWatch dashboard of an environment."""

from __future__ import annotations

from collections.abc import Sequence

from cdktn import TerraformLocal
from cdktn_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from constructs import Construct

from cdktf_app.monitoring.dashboard_panels import Panel
from cdktf_app.monitoring.widgets import widgets


class Dashboard(Construct):
    """The dashboard: states of the alarms, then the panels."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        region: str,
        scaler_log: str,
        panels: Sequence[Panel],
        alarm_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        body = TerraformLocal(self, "body", {"widgets": widgets(panels, alarm_arns, region, scaler_log)})
        CloudwatchDashboard(self, "dashboard", dashboard_name=name, dashboard_body=f"${{jsonencode({body.fqn})}}")
