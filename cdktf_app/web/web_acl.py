# SPDX-License-Identifier: Apache-2.0
"""AWS WAF in front of the web server: allowed ranges, login rate limit, known attacks."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from cdktn import TerraformProvider
from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.wafv2_ip_set import Wafv2IpSet
from cdktn_provider_aws.wafv2_web_acl import (
    Wafv2WebAcl,
    Wafv2WebAclDefaultAction,
    Wafv2WebAclDefaultActionAllow,
    Wafv2WebAclDefaultActionBlock,
    Wafv2WebAclRule,
    Wafv2WebAclRuleAction,
    Wafv2WebAclRuleActionAllow,
    Wafv2WebAclRuleActionBlock,
    Wafv2WebAclRuleOverrideAction,
    Wafv2WebAclRuleOverrideActionNone,
    Wafv2WebAclRuleVisibilityConfig,
    Wafv2WebAclVisibilityConfig,
)
from cdktn_provider_aws.wafv2_web_acl_logging_configuration import (
    Wafv2WebAclLoggingConfiguration,
    Wafv2WebAclLoggingConfigurationLoggingFilter,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilter,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilterCondition,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilterConditionActionCondition,
    Wafv2WebAclLoggingConfigurationRedactedFields,
    Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader,
)
from constructs import Construct

from cdktf_app.base.resource_names import truncate_with_hash

_NAME_LIMIT: Final = 128
# For an office behind one address: one login page sends about ten requests to /auth/.
_LOGINS_IN_5_MINUTES: Final = 300
_PASSWORD_LOGINS: Final = ("/auth/",)
# Not all of /aws_mwaa/: the API and the commands are there too.
_IAM_LOGINS: Final = ("/auth/", "/aws_mwaa/exchange", "/aws_mwaa/login", "/pluginsv2/aws_mwaa/login")
_SECRET_HEADERS: Final = ("authorization", "cookie")
_Filter = Wafv2WebAclLoggingConfigurationLoggingFilterFilter
_Condition = Wafv2WebAclLoggingConfigurationLoggingFilterFilterCondition
_Action = Wafv2WebAclLoggingConfigurationLoggingFilterFilterConditionActionCondition
_Redacted = Wafv2WebAclLoggingConfigurationRedactedFields
_Header = Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader


class WebAcl(Construct):
    """A web ACL; with `allowed_cidrs` it blocks all other addresses. It logs blocked requests."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        acl_scope: Literal["CLOUDFRONT", "REGIONAL"],
        allowed_cidrs: Sequence[str] = (),
        retention_days: int,
        key_arn: str | None,
        iam_login: bool,
        provider: TerraformProvider | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._name = truncate_with_hash(name, limit=_NAME_LIMIT - len("-allowed"))
        self._provider = provider
        self._acl_scope = acl_scope
        acl = Wafv2WebAcl(
            self,
            "web_acl",
            name=self._name,
            description="Access to the web server",
            scope=acl_scope,
            default_action=_default_action(allow=not allowed_cidrs),
            rule=self._rules(allowed_cidrs, _IAM_LOGINS if iam_login else _PASSWORD_LOGINS),
            visibility_config=Wafv2WebAclVisibilityConfig(**_visibility(self._name)),
            provider=provider,
        )
        self.arn: str = acl.arn
        self._log(retention_days, key_arn)

    def _rules(self, allowed_cidrs: Sequence[str], logins: Sequence[str]) -> list[Wafv2WebAclRule]:
        known_attacks = {"vendor_name": "AWS", "name": "AWSManagedRulesKnownBadInputsRuleSet"}
        no_override = Wafv2WebAclRuleOverrideAction(none=Wafv2WebAclRuleOverrideActionNone())
        block = Wafv2WebAclRuleAction(block=Wafv2WebAclRuleActionBlock())
        rules = [
            _rule("known-bad-inputs", 0, {"managed_rule_group_statement": known_attacks}, override_action=no_override),
            _rule("logins", 1, {"rate_based_statement": _login_rate(logins)}, action=block),
        ]
        if allowed_cidrs:
            ip_set = Wafv2IpSet(
                self,
                "allowed",
                name=f"{self._name}-allowed",
                description="Allowed ranges of users",
                scope=self._acl_scope,
                ip_address_version="IPV4",
                addresses=list(allowed_cidrs),
                provider=self._provider,
            )
            allow = Wafv2WebAclRuleAction(allow=Wafv2WebAclRuleActionAllow())
            rules.append(_rule("allowed", 2, {"ip_set_reference_statement": {"arn": ip_set.arn}}, action=allow))
        return rules

    def _log(self, retention_days: int, key_arn: str | None) -> None:
        """Log blocked requests without credentials."""
        group = CloudwatchLogGroup(
            self,
            "blocked",
            name=f"aws-waf-logs-{self._name}",  # prefix required by WAF
            retention_in_days=retention_days,
            kms_key_id=key_arn,
            provider=self._provider,
        )
        blocked = _Filter(
            behavior="KEEP", requirement="MEETS_ANY", condition=[_Condition(action_condition=_Action(action="BLOCK"))]
        )
        Wafv2WebAclLoggingConfiguration(
            self,
            "log",
            resource_arn=self.arn,
            log_destination_configs=[group.arn],
            logging_filter=Wafv2WebAclLoggingConfigurationLoggingFilter(default_behavior="DROP", filter=[blocked]),
            redacted_fields=[_Redacted(single_header=_Header(name=name)) for name in _SECRET_HEADERS],
            provider=self._provider,
        )


def _rule(name: str, priority: int, statement: Mapping[str, Any], **action: Any) -> Wafv2WebAclRule:
    visibility = Wafv2WebAclRuleVisibilityConfig(**_visibility(name))
    return Wafv2WebAclRule(name=name, priority=priority, statement=statement, visibility_config=visibility, **action)


def _login_rate(paths: Sequence[str]) -> Mapping[str, Any]:
    starts = [
        {
            "byte_match_statement": {
                "search_string": path,
                "positional_constraint": "STARTS_WITH",
                "field_to_match": {"uri_path": {}},
                "text_transformation": [{"priority": 0, "type": "NORMALIZE_PATH"}],
            }
        }
        for path in paths
    ]
    scope = {"or_statement": {"statement": starts}} if len(starts) > 1 else starts[0]
    return {"limit": _LOGINS_IN_5_MINUTES, "aggregate_key_type": "IP", "scope_down_statement": scope}


def _visibility(metric: str) -> dict[str, Any]:
    # Sampled requests would show headers, including session cookies.
    return {"cloudwatch_metrics_enabled": True, "metric_name": metric, "sampled_requests_enabled": False}


def _default_action(*, allow: bool) -> Wafv2WebAclDefaultAction:
    if allow:
        return Wafv2WebAclDefaultAction(allow=Wafv2WebAclDefaultActionAllow())
    return Wafv2WebAclDefaultAction(block=Wafv2WebAclDefaultActionBlock())
