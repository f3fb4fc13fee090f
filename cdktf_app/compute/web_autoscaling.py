# SPDX-License-Identifier: Apache-2.0
"""Autoscaling of web servers with MWAA's rule: scale out above 70 % CPU or above 15 connections per server.

Application Auto Scaling uses the highest result of all target tracking policies: it scales out after 3 minutes above
one target, and scales in after 15 minutes well below all targets.

`ActiveConnectionCount` is a metric of a whole load balancer. The public load balancer has connections of users only.
Most connections of the internal one belong to running tasks, so requests to the web servers are counted there instead:
an open page sends about one request per second, so 15 requests per second stand for MWAA's 15 connections.
"""

from typing import Final

from cdktn_provider_aws.appautoscaling_policy import (
    AppautoscalingPolicy,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecification,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetrics,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStat,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetric,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetricDimensions,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification,
)
from cdktn_provider_aws.appautoscaling_target import AppautoscalingTarget
from constructs import Construct

from cdktf_app.compute.fargate_service import ServiceProps
from cdktf_app.web.target_groups import TargetGroup

_Tracking = AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration
_Predefined = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification
_Customized = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecification
_Query = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetrics
_Stat = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStat
_Metric = (
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetric
)
_Dimension = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetricDimensions  # noqa: E501 - the provider's name

CPU_PERCENT: Final = 70
CONNECTIONS: Final = 15
REQUESTS_A_MINUTE: Final = CONNECTIONS * 60
# A new web server needs a minute to start; load often returns soon after it ends.
_OUT_COOLDOWN_S: Final = 120
_IN_COOLDOWN_S: Final = 900


class WebAutoscaling(Construct):
    """Scales the service of the web servers between the configured numbers."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        service_props: ServiceProps,
        *,
        service: str,
        internal: TargetGroup | None,
        public: TargetGroup | None,
    ) -> None:
        super().__init__(scope, construct_id)
        environment = service_props.context.environment
        self._name = service_props.context.name
        self._target = AppautoscalingTarget(
            self,
            "target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=f"service/{service_props.cluster.name}/{service}",
            min_capacity=environment.min_webservers,
            max_capacity=environment.max_webservers,
        )
        self._follow(
            "cpu", CPU_PERCENT, predefined=_Predefined(predefined_metric_type="ECSServiceAverageCPUUtilization")
        )
        if internal is not None:
            label = f"{internal.balancer}/{internal.group}"
            requests = _Predefined(predefined_metric_type="ALBRequestCountPerTarget", resource_label=label)
            self._follow("requests", REQUESTS_A_MINUTE, predefined=requests)
        if public is not None:
            self._follow("connections", CONNECTIONS, customized=_connections_each(public))

    def _follow(
        self, word: str, value: float, *, predefined: _Predefined | None = None, customized: _Customized | None = None
    ) -> None:
        AppautoscalingPolicy(
            self,
            word,
            name=f"{self._name}-web-{word}",
            policy_type="TargetTrackingScaling",
            service_namespace=self._target.service_namespace,
            scalable_dimension=self._target.scalable_dimension,
            resource_id=self._target.resource_id,
            target_tracking_scaling_policy_configuration=_Tracking(
                target_value=value,
                scale_out_cooldown=_OUT_COOLDOWN_S,
                scale_in_cooldown=_IN_COOLDOWN_S,
                predefined_metric_specification=predefined,
                customized_metric_specification=customized,
            ),
        )


def _connections_each(public: TargetGroup) -> _Customized:
    """Return the metric: connections of the public load balancer per healthy web server."""
    balancer = _Dimension(name="LoadBalancer", value=public.balancer)
    group = _Dimension(name="TargetGroup", value=public.group)
    return _Customized(
        metrics=[
            _query("connections", "ActiveConnectionCount", "Sum", [balancer]),
            _query("servers", "HealthyHostCount", "Average", [balancer, group]),
            _Query(id="each", label="Connections a web server", expression="connections / servers", return_data=True),
        ]
    )


def _query(word: str, metric: str, stat: str, dimensions: list[_Dimension]) -> _Query:
    named = _Metric(namespace="AWS/ApplicationELB", metric_name=metric, dimensions=dimensions)
    return _Query(id=word, metric_stat=_Stat(metric=named, stat=stat), return_data=False)
