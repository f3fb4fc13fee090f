# SPDX-License-Identifier: Apache-2.0
"""A security group per component, with an ingress and an egress rule for each row of `traffic_rules`.

Ingress from outside the VPC is limited to `web_access`. Egress of tasks is HTTPS to any address; with ENDPOINTS_ONLY it
is HTTPS to the VPC's endpoints and S3. Tasks with DAG code also reach the ports of `network.egress_ports`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from cdktn import ITerraformDependable
from cdktn_provider_aws.data_aws_ec2_managed_prefix_list import DataAwsEc2ManagedPrefixList
from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.vpc_security_group_egress_rule import VpcSecurityGroupEgressRule
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule
from constructs import Construct

from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.stack_context import StackContext
from cdktf_app.network.traffic_rules import (
    CLOUDFRONT,
    DATABASE,
    ENDPOINTS,
    INTERNAL,
    PUBLIC,
    IngressRule,
    authenticating_load_balancer,
    groups,
    ingress_rules,
    security_group_rules,
    tasks,
    tasks_with_dag_code,
)
from cdktf_app.network.vpc import ANYWHERE, VpcNetwork
from openmwaa.config.metadata_database import ExistingPostgresql
from openmwaa.config.ports import HTTPS_PORT

_Egress = VpcSecurityGroupEgressRule
_Ingress = VpcSecurityGroupIngressRule
_Rule = TypeVar("_Rule", VpcSecurityGroupEgressRule, VpcSecurityGroupIngressRule)
# A TCP port, or a protocol with all its ports.
_Ports = int | Literal["tcp", "udp"]
_LAST_PORT: Final = 65_535
_CLOUDFRONT_LIST = "com.amazonaws.global.cloudfront.origin-facing"


class SecurityGroups(Construct):
    """The security groups of an environment and their rules."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext, network: VpcNetwork) -> None:
        super().__init__(scope, construct_id)
        environment = self._environment = context.environment
        self._network = network
        self._rules: dict[str, list[ITerraformDependable]] = {}
        self._ids = {
            group: self._group(group, f"{context.name}-", words) for group, words in groups(environment).items()
        }
        if isinstance(environment.metadata_database, ExistingPostgresql):
            self._ids[DATABASE] = environment.metadata_database.security_group_id
        for rule in security_group_rules(environment):
            self._allow(rule.caller, rule.listener, rule.port, rule.why)
        for ingress in ingress_rules(environment):
            self._allow_clients(ingress)
        self._allow_https_egress()
        for task in tasks_with_dag_code(environment):
            self._allow_dag_code_egress(task)

    def id_of(self, group: str) -> str:
        """Return the id of `group`, a name of `traffic_rules.groups`."""
        return self._ids[group]

    @property
    def of_components(self) -> Mapping[str, str]:
        """The ids of the tasks' groups, by ECS service."""
        return {task.replace("_", "-"): self._ids[task] for task in tasks(self._environment)}

    @property
    def of_internal_load_balancer(self) -> Sequence[str]:
        """The ids of the internal load balancer's groups."""
        return [self._ids[group] for group in (INTERNAL, CLOUDFRONT) if group in self._ids]

    def rules_of(self, *names: str) -> list[ITerraformDependable]:
        """Return the rules from and to groups, for `depends_on`: they exist before the first member and after the last.

        The other ends' rules are included: a group that leaves the stack has all its connections until its last member.
        """
        return [rule for name in names for rule in self._rules.get(name.replace("-", "_"), ())]

    def allow_prefix_list(self, word: str, what: str, prefix_list_id: str) -> None:
        """Allow HTTPS from every task to a prefix list."""
        for task in tasks(self._environment):
            self._rule(_Egress, task, f"{task}_to_{word}", f"HTTPS to {what}", prefix_list_id=prefix_list_id)

    def _group(self, group: str, prefix: str, description: str) -> str:
        name = prefix + group.replace("_", "-")
        vpc_id = self._network.vpc_id
        return SecurityGroup(self, group, name=name, description=description, vpc_id=vpc_id, tags={"Name": name}).id

    def _allow_https_egress(self) -> None:
        for task in tasks(self._environment):
            if self._environment.network.egress_mode != "ENDPOINTS_ONLY":
                self._rule(_Egress, task, f"{task}_https_out", "HTTPS outward", cidr_ipv4=ANYWHERE)
            elif self._environment.network.vpc_id is None:
                self._allow(task, ENDPOINTS, HTTPS_PORT, "APIs of AWS")
            else:
                self._rule(
                    _Egress,
                    task,
                    f"{task}_to_{ENDPOINTS}_{HTTPS_PORT}",
                    "To endpoints: APIs of AWS",
                    referenced_security_group_id=self._ids[ENDPOINTS],
                )
        if ENDPOINTS in self._ids and self._environment.network.vpc_id is not None:
            # Private DNS applies to the whole VPC: all other clients in it now use these endpoints too.
            self._allow_clients(IngressRule(ENDPOINTS, HTTPS_PORT, "VPC", "APIs of AWS"))
        if load_balancer := authenticating_load_balancer(self._environment):
            self._rule(
                _Egress,
                load_balancer,
                f"{load_balancer}_https_out",
                "HTTPS to the identity provider",
                cidr_ipv4=ANYWHERE,
            )

    def _allow_dag_code_egress(self, task: str) -> None:
        """Allow every TCP and UDP port, or the TCP ports of `network.egress_ports`."""
        network = self._environment.network
        inside = network.egress_mode == "ENDPOINTS_ONLY"
        ports: Sequence[_Ports] = ("tcp", "udp") if network.egress_ports is None else network.egress_ports
        for port in ports:
            if port == HTTPS_PORT and not inside:
                continue  # every task has this rule
            words = f"DAG code: {f'port {port}' if isinstance(port, int) else f'all ports, {port}'}"
            if inside:
                self._rule_for_vpc(_Egress, task, f"{task}_to_vpc_{port}", f"{words} in the VPC", port)
            else:
                self._rule(_Egress, task, f"{task}_out_{port}", f"{words} outward", port=port, cidr_ipv4=ANYWHERE)

    def _allow(self, caller: str, listener: str, port: int, why: str) -> None:
        egress = self._rule(
            _Egress,
            caller,
            f"{caller}_to_{listener}_{port}",
            f"To {_words(listener)}: {why}",
            port=port,
            referenced_security_group_id=self._ids[listener],
        )
        ingress = self._rule(
            _Ingress,
            listener,
            f"{listener}_from_{caller}_{port}",
            f"From {_words(caller)}: {why}",
            port=port,
            referenced_security_group_id=self._ids[caller],
        )
        self._rules[listener].append(egress)
        self._rules[caller].append(ingress)

    def _allow_clients(self, rule: IngressRule) -> None:
        listener, port = rule.listener, rule.port
        if rule.source == "ALLOWED":
            internet = (ANYWHERE,) if listener == PUBLIC else ()
            for cidr in self._environment.web_access.allowed_cidrs or internet:
                word = f"{listener}_from_{cidr.replace('.', '_').replace('/', '_')}_{port}"
                words = f"{rule.why} from {'the internet' if cidr == ANYWHERE else 'an allowed range'}"
                self._rule(_Ingress, listener, word, words, port=port, cidr_ipv4=cidr)
            return
        if rule.source == "CLOUDFRONT":
            prefix_list = DataAwsEc2ManagedPrefixList(self, "cloudfront_addresses", name=_CLOUDFRONT_LIST)
            # Overridable, because emulators have no prefix lists of AWS.
            list_id = overridable_local(self, "cloudfront_prefix_list", prefix_list.id)
            word = f"{listener}_from_cloudfront_{port}"
            self._rule(_Ingress, listener, word, f"{rule.why} by CloudFront", port=port, prefix_list_id=list_id)
            return
        words = f"{rule.why} from within the VPC"
        self._rule_for_vpc(_Ingress, listener, f"{listener}_from_vpc_{port}", words, port)

    def _rule_for_vpc(self, rule_type: type[_Rule], group: str, word: str, description: str, port: _Ports) -> None:
        cidrs = self._network.vpc_cidrs
        if cidrs.known:
            (cidr,) = cidrs.known
            self._rule(rule_type, group, word, description, port=port, cidr_ipv4=cidr)
        else:
            rule = self._rule(rule_type, group, word, description, port=port, cidr_ipv4="${each.value}")
            rule.add_override("for_each", f"${{toset({cidrs.expression})}}")

    def _rule(
        self,
        rule_type: type[_Rule],
        group: str,
        word: str,
        description: str,
        *,
        port: _Ports = HTTPS_PORT,
        **peer: Any,
    ) -> _Rule:
        """Add a rule to `group`; `peer` is the provider's argument for the other end."""
        first, last = (port, port) if isinstance(port, int) else (0, _LAST_PORT)
        rule = rule_type(
            self,
            word,
            security_group_id=self._ids[group],
            description=description,
            ip_protocol="tcp" if isinstance(port, int) else port,
            from_port=first,
            to_port=last,
            **peer,
        )
        self._rules.setdefault(group, []).append(rule)
        return rule


def _words(group: str) -> str:
    return group.replace("_", " ")
