# SPDX-License-Identifier: Apache-2.0
"""VPC endpoints: the free S3 gateway; with ENDPOINTS_ONLY also one for each service that a component calls.

An interface endpoint costs 0.01 USD per hour and zone, and 0.01 USD per GB. With private DNS,
`sqs.REGION.amazonaws.com` resolves to the endpoint for all clients in the VPC.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cdktn import ITerraformDependable
from cdktn_provider_aws.vpc_endpoint import VpcEndpoint
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import EVERY, Condition, Statement, policy_json
from cdktf_app.base.stack_context import StackContext
from cdktf_app.network.endpoint_table import IAM, S3, STS, WITHOUT_POLICY, endpoints_of
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.network.traffic_rules import ENDPOINTS
from cdktf_app.network.vpc import VpcNetwork


class VpcEndpoints(Construct):
    """The endpoints of an environment; tasks depend on `ready`."""

    def __init__(
        self, scope: Construct, construct_id: str, context: StackContext, network: VpcNetwork, groups: SecurityGroups
    ) -> None:
        super().__init__(scope, construct_id)
        environment, aws_scope = context.environment, context.aws_scope
        self._name, self._network, self._groups, self._aws_scope = context.name, network, groups, aws_scope
        self.ready: Sequence[ITerraformDependable] = []
        if environment.network.egress_mode == "ENDPOINTS_ONLY":
            accountwide = policy_json(self, "policy", [_of_this_account(aws_scope)])
            gateway = self._gateway(policy_json(self, "s3_policy", [_of_this_account(aws_scope), _layers(aws_scope)]))
            groups.allow_prefix_list("s3", "S3", gateway.prefix_list_id)
            policies = dict.fromkeys((name for name in endpoints_of(environment) if name != S3), accountwide)
            if STS in policies and (accounts := environment.web_access.iam_login.accounts):
                policies[STS] = policy_json(self, "sts_policy", [_of_this_account(aws_scope), _proofs(accounts)])
            self.ready = [gateway, *(self._interface(endpoint, policy) for endpoint, policy in policies.items())]
        elif environment.network.vpc_id is None:
            # No policy: with internet access a policy here restricts nothing. The gateway is free; NAT traffic is not.
            self._gateway(None)

    def _gateway(self, policy: str | None) -> VpcEndpoint:
        return VpcEndpoint(
            self,
            "s3",
            vpc_id=self._network.vpc_id,
            service_name=self._service(S3),
            vpc_endpoint_type="Gateway",
            route_table_ids=self._network.task_route_table_ids(),
            policy=policy,
            tags={"Name": f"{self._name}-s3"},
        )

    def _interface(self, endpoint: str, policy: str) -> VpcEndpoint:
        word = endpoint.replace(".", "_").replace("-", "_")
        return VpcEndpoint(
            self,
            word,
            vpc_id=self._network.vpc_id,
            service_name=self._service(endpoint),
            vpc_endpoint_type="Interface",
            subnet_ids=self._network.private_subnet_ids_by_zone,
            security_group_ids=[self._groups.id_of(ENDPOINTS)],
            private_dns_enabled=True,
            policy=None if endpoint in WITHOUT_POLICY else policy,
            tags={"Name": f"{self._name}-{endpoint.replace('.', '-')}"},
        )

    def _service(self, endpoint: str) -> str:
        return "com.amazonaws.iam" if endpoint == IAM else f"com.amazonaws.{self._aws_scope.region}.{endpoint}"


def _of_this_account(aws_scope: AwsScope) -> Statement:
    """Return the statement that allows identities of this account only; their own policies limit their actions.

    It rejects credentials of another account, which could copy data out of a VPC without internet access.
    """
    return Statement(
        sid="IdentitiesOfThisAccount",
        actions=EVERY,
        resources=EVERY,
        every_action_because="an endpoint's policy grants nothing: identities' own policies say which actions",
        every_resource_because="an endpoint's policy grants nothing: identities' own policies say on which resources",
        principals={"AWS": EVERY},
        conditions=(Condition("StringEquals", "aws:PrincipalAccount", (aws_scope.account,)),),
    )


def _proofs(accounts: Collection[str]) -> Statement:
    """Return the statement for callers of the accounts in `role_table`: their requests prove their identity."""
    return Statement(
        sid="ProofsOfIdentity",
        actions=("sts:GetCallerIdentity",),
        resources=EVERY,
        every_resource_because="GetCallerIdentity has no resource",
        principals={"AWS": EVERY},
        conditions=(Condition("StringEquals", "aws:PrincipalAccount", tuple(sorted(accounts))),),
    )


def _layers(aws_scope: AwsScope) -> Statement:
    """Return the statement that allows downloads of image layers: ECR signs URLs of a bucket that AWS owns."""
    return Statement(
        sid="LayersOfImages",
        actions=("s3:GetObject",),
        resources=(f"arn:{aws_scope.partition}:s3:::prod-{aws_scope.region}-starport-layer-bucket/*",),
        principals={"AWS": EVERY},
    )
