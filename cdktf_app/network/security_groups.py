# SPDX-License-Identifier: Apache-2.0
"""A security group a part, and two rules for every conversation there is: `security_group_rules` says which.

Nothing is open inward from outside the VPC but what the file's `web_access` names. Outward, tasks have HTTPS for AWS's
APIs and what else answers there; with ENDPOINTS_ONLY, for the VPC's endpoints and S3 alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdktn import ITerraformDependable
from cdktn_provider_aws.data_aws_ec2_managed_prefix_list import DataAwsEc2ManagedPrefixList
from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.vpc_security_group_egress_rule import VpcSecurityGroupEgressRule
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.ports import HTTPS_PORT
from cdktf_app.network.traffic_rules import (
    CLOUDFRONT,
    DATABASE,
    ENDPOINTS,
    INTERNAL,
    TASKS,
    IngressRule,
    authenticating_load_balancer,
    groups,
    ingress_rules,
    security_group_rules,
)
from cdktf_app.network.vpc import VpcNetwork
from cdktf_app.network.vpc_cidrs import ANYWHERE
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql

_CLOUDFRONT_LIST = "com.amazonaws.global.cloudfront.origin-facing"


class SecurityGroups(Construct):
    """The groups of an environment and the rules between them."""

    def __init__(
        self, scope: Construct, construct_id: str, *, name: str, environment: Environment, network: VpcNetwork
    ) -> None:
        super().__init__(scope, construct_id)
        self._environment = environment
        self._network = network
        self._rules: dict[str, list[ITerraformDependable]] = {}
        self._ids = {group: self._group(group, f"{name}-", words) for group, words in groups(environment).items()}
        if isinstance(environment.metadata_database, ExistingPostgresql):
            self._ids[DATABASE] = environment.metadata_database.security_group_id
        for row in security_group_rules(environment):
            self._allow(row.caller, row.listener, row.port, row.why)
        for rule in ingress_rules(environment):
            self._open(rule)
        self._https_out()

    def id_of(self, group: str) -> str:
        """Return the id of the group that `security_group_rules` calls `group`."""
        return self._ids[group]

    @property
    def of_components(self) -> Mapping[str, str]:
        """The group of every ECS service of the control plane, by the service's name."""
        return {task.replace("_", "-"): self._ids[task] for task in TASKS}

    @property
    def of_internal_load_balancer(self) -> Sequence[str]:
        """The groups of the internal load balancer."""
        return [self._ids[group] for group in (INTERNAL, CLOUDFRONT) if group in self._ids]

    def rules_of(self, *names: str) -> list[ITerraformDependable]:
        """Return the rules of groups: what is there before the first of their members, and after the last."""
        return [rule for name in names for rule in self._rules.get(name.replace("-", "_"), ())]

    def allow_prefix_list(self, word: str, what: str, prefix_list_id: str) -> None:
        """Let every task open HTTPS connections to what a prefix list names."""
        for task in TASKS:
            self._out(task, f"{task}_to_{word}", f"HTTPS to {what}", prefix_list_id=prefix_list_id)

    def _group(self, group: str, prefix: str, description: str) -> str:
        name = prefix + group.replace("_", "-")
        made = SecurityGroup(
            self,
            group,
            name=name,
            description=description,
            vpc_id=self._network.vpc_id,
            tags={"Name": name},
        )
        return made.id

    def _https_out(self) -> None:
        for task in TASKS:
            if self._environment.network.way_out != "ENDPOINTS_ONLY":
                self._out(task, f"{task}_https_out", "HTTPS outward", cidr_ipv4=ANYWHERE)
            elif self._environment.network.vpc_id is None:
                self._allow(task, ENDPOINTS, HTTPS_PORT, "APIs of AWS")
            else:
                self._out(
                    task,
                    f"{task}_to_{ENDPOINTS}_{HTTPS_PORT}",
                    "To endpoints: APIs of AWS",
                    referenced_security_group_id=self._ids[ENDPOINTS],
                )
        if ENDPOINTS in self._ids and self._environment.network.vpc_id is not None:
            # Their private names are the whole VPC's: whoever else is in it asks AWS by these endpoints from now on.
            self._open(IngressRule(ENDPOINTS, HTTPS_PORT, "VPC", "APIs of AWS"))
        if asks := authenticating_load_balancer(self._environment):
            self._out(asks, f"{asks}_https_out", "HTTPS to the identity provider", cidr_ipv4=ANYWHERE)

    def _allow(self, caller: str, listener: str, port: int, why: str) -> None:
        self._out(
            caller,
            f"{caller}_to_{listener}_{port}",
            f"To {_words(listener)}: {why}",
            port=port,
            referenced_security_group_id=self._ids[listener],
        )
        self._in(
            listener,
            f"{listener}_from_{caller}_{port}",
            f"From {_words(caller)}: {why}",
            port=port,
            referenced_security_group_id=self._ids[caller],
        )

    def _open(self, rule: IngressRule) -> None:
        listener, port = rule.listener, rule.port
        if rule.source == "ALLOWED":
            for cidr in self._environment.web_access.allowed_cidrs:
                word = f"{listener}_from_{cidr.replace('.', '_').replace('/', '_')}_{port}"
                self._in(listener, word, f"{rule.why} from a range that is allowed", port=port, cidr_ipv4=cidr)
            return
        if rule.source == "CLOUDFRONT":
            listed = DataAwsEc2ManagedPrefixList(self, "cloudfront_addresses", name=_CLOUDFRONT_LIST)
            # A local value, so that a place without AWS's own lists can leave it out.
            list_id = overridable_local(self, "cloudfront_prefix_list", listed.id)
            word = f"{listener}_from_cloudfront_{port}"
            self._in(listener, word, f"{rule.why} by CloudFront", port=port, prefix_list_id=list_id)
            return
        word, words = f"{listener}_from_vpc_{port}", f"{rule.why} from within the VPC"
        cidrs = self._network.vpc_cidrs
        if cidrs.known:
            (cidr,) = cidrs.known
            self._in(listener, word, words, port=port, cidr_ipv4=cidr)
        else:
            ingress = self._in(listener, word, words, port=port, cidr_ipv4="${each.value}")
            ingress.add_override("for_each", f"${{toset({cidrs.expression})}}")

    def _in(
        self,
        group: str,
        word: str,
        description: str,
        *,
        port: int,
        cidr_ipv4: str | None = None,
        prefix_list_id: str | None = None,
        referenced_security_group_id: str | None = None,
    ) -> VpcSecurityGroupIngressRule:
        rule = VpcSecurityGroupIngressRule(
            self,
            word,
            security_group_id=self._ids[group],
            description=description,
            cidr_ipv4=cidr_ipv4,
            prefix_list_id=prefix_list_id,
            referenced_security_group_id=referenced_security_group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )
        self._rules.setdefault(group, []).append(rule)
        return rule

    def _out(
        self,
        group: str,
        word: str,
        description: str,
        *,
        port: int = HTTPS_PORT,
        cidr_ipv4: str | None = None,
        prefix_list_id: str | None = None,
        referenced_security_group_id: str | None = None,
    ) -> None:
        rule = VpcSecurityGroupEgressRule(
            self,
            word,
            security_group_id=self._ids[group],
            description=description,
            cidr_ipv4=cidr_ipv4,
            prefix_list_id=prefix_list_id,
            referenced_security_group_id=referenced_security_group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )
        self._rules.setdefault(group, []).append(rule)


def _words(group: str) -> str:
    return group.replace("_", " ")
