# SPDX-License-Identifier: Apache-2.0
"""As many web servers as people need, by MWAA's rule: one more where CPU is above 70 % or connections above 15 each.

Application Auto Scaling follows targets, and takes the greatest number that any of them wants: it adds after 3 minutes
above one of them, and takes away after 15 minutes well below all.

`ActiveConnectionCount` is a number of a whole load balancer. The public one has connections of people alone; of the
internal one most are running tasks at the execution API, so there requests to the web servers are counted instead: a
page that is open asks about once a second, so that 15 requests a second are MWAA's 15 connections.
"""

from __future__ import annotations

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
# A new web server takes a minute to answer; people come back after a meeting.
_OUT_COOLDOWN_S: Final = 120
_IN_COOLDOWN_S: Final = 900


class WebAutoscaling(Construct):
    """Keeps the service `service` of `cluster` between `least` and `most` tasks."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        cluster: str,
        service: str,
        least: int,
        most: int,
        internal: TargetGroup | None,
        public: TargetGroup | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = name
        self._target = AppautoscalingTarget(
            self,
            "target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=f"service/{cluster}/{service}",
            min_capacity=least,
            max_capacity=most,
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
    """Return the public load balancer's connections, divided by the web servers that answer."""
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
