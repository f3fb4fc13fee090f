# SPDX-License-Identifier: Apache-2.0
"""Lists resources through the APIs of AWS. A resource that is new after a destroy is left over."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import ClientError

# States of deleted resources that an API still lists for a while.
_DELETED_STATES: Final = {"PendingDeletion", "deleted", "DELETE_IN_PROGRESS", "INACTIVE", "deleting"}


@dataclass(frozen=True)
class Listing:
    """A list operation, and the place of the names in its response."""

    service: str
    operation: str
    names: str
    """A JMESPath to a list of names."""
    arguments: tuple[tuple[str, Any], ...] = ()

    def read(self, client: Any) -> set[str]:
        """Return the resources as SERVICE KIND NAME; nothing if the emulator does not support the operation."""
        found: set[str] = set()
        try:
            if client.can_paginate(self.operation):
                pages: Iterable[Any] = client.get_paginator(self.operation).paginate(**dict(self.arguments))
            else:
                pages = [getattr(client, self.operation)(**dict(self.arguments))]
            for page in pages:
                found |= {str(name) for name in jmespath.search(self.names, page) or ()}
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_SUPPORTED:
                raise
        kind = self.operation.removeprefix("describe_").removeprefix("list_").removeprefix("get_")
        return {f"{self.service} {kind} {name}" for name in found}


_NOT_SUPPORTED: Final = {
    "InvalidAction",
    "UnknownOperationException",
    "NotImplemented",
    "InternalFailure",
    "501",
    "404",
}

_NOT_DELETED: Final = "[?!contains(['" + "','".join(sorted(_DELETED_STATES)) + "'], State || '')]"


LISTINGS: Final = (
    Listing("ec2", "describe_vpcs", "Vpcs[].VpcId"),
    Listing("ec2", "describe_subnets", "Subnets[].SubnetId"),
    Listing("ec2", "describe_internet_gateways", "InternetGateways[].InternetGatewayId"),
    Listing("ec2", "describe_nat_gateways", f"NatGateways{_NOT_DELETED}.NatGatewayId"),
    Listing("ec2", "describe_addresses", "Addresses[].AllocationId"),
    Listing("ec2", "describe_route_tables", "RouteTables[].RouteTableId"),
    Listing("ec2", "describe_security_groups", "SecurityGroups[].GroupId"),
    Listing("ec2", "describe_vpc_endpoints", f"VpcEndpoints{_NOT_DELETED}.VpcEndpointId"),
    Listing("ec2", "describe_flow_logs", "FlowLogs[].FlowLogId"),
    Listing("elbv2", "describe_load_balancers", "LoadBalancers[].LoadBalancerArn"),
    Listing("elbv2", "describe_target_groups", "TargetGroups[].TargetGroupArn"),
    Listing("ecs", "list_clusters", "clusterArns"),
    Listing("ecs", "list_task_definitions", "taskDefinitionArns", (("status", "ACTIVE"),)),
    Listing("ecr", "describe_repositories", "repositories[].repositoryName"),
    Listing("rds", "describe_db_clusters", "DBClusters[].DBClusterIdentifier"),
    Listing("rds", "describe_db_instances", "DBInstances[].DBInstanceIdentifier"),
    Listing("rds", "describe_db_subnet_groups", "DBSubnetGroups[].DBSubnetGroupName"),
    Listing("rds", "describe_db_cluster_snapshots", "DBClusterSnapshots[].DBClusterSnapshotIdentifier"),
    Listing("rds", "describe_db_snapshots", "DBSnapshots[].DBSnapshotIdentifier"),
    Listing("rds", "describe_db_parameter_groups", "DBParameterGroups[].DBParameterGroupName"),
    Listing("rds", "describe_db_cluster_parameter_groups", "DBClusterParameterGroups[].DBClusterParameterGroupName"),
    Listing("elasticache", "describe_replication_groups", "ReplicationGroups[].ReplicationGroupId"),
    Listing("elasticache", "describe_cache_subnet_groups", "CacheSubnetGroups[].CacheSubnetGroupName"),
    Listing("elasticache", "describe_cache_parameter_groups", "CacheParameterGroups[].CacheParameterGroupName"),
    Listing("elasticache", "describe_users", "Users[].UserId"),
    Listing("elasticache", "describe_user_groups", "UserGroups[].UserGroupId"),
    Listing("s3", "list_buckets", "Buckets[].Name"),
    Listing("sqs", "list_queues", "QueueUrls"),
    Listing("sns", "list_topics", "Topics[].TopicArn"),
    Listing("secretsmanager", "list_secrets", "SecretList[?DeletedDate == null].Name"),
    Listing("ssm", "describe_parameters", "Parameters[].Name"),
    Listing("kms", "list_aliases", "Aliases[?!starts_with(AliasName, 'alias/aws/')].AliasName"),
    Listing("iam", "list_roles", "Roles[].RoleName"),
    Listing("iam", "list_policies", "Policies[].Arn", (("Scope", "Local"),)),
    Listing("logs", "describe_log_groups", "logGroups[].logGroupName"),
    Listing("cloudwatch", "describe_alarms", "[MetricAlarms[].AlarmName, CompositeAlarms[].AlarmName][]"),
    Listing("cloudwatch", "list_dashboards", "DashboardEntries[].DashboardName"),
    Listing("events", "list_rules", "Rules[].Name"),
    Listing("acm", "list_certificates", "CertificateSummaryList[].CertificateArn"),
    Listing("route53", "list_hosted_zones", "HostedZones[].Id"),
    Listing("wafv2", "list_web_acls", "WebACLs[].Name", (("Scope", "REGIONAL"),)),
    Listing("cloudfront", "list_distributions", "DistributionList.Items[].Id"),
    Listing("servicediscovery", "list_namespaces", "Namespaces[].Name"),
)


def tagged(tagging: Any, environment: str) -> set[str]:
    """Return the ARNs with an environment's tag: an account also holds other resources."""
    tag = {"Key": "openmwaa:environment", "Values": [environment]}
    pages = tagging.get_paginator("get_resources").paginate(TagFilters=[tag])
    return {resource["ResourceARN"] for page in pages for resource in page["ResourceTagMappingList"]}


def split_kept(left: Iterable[str], kept: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split the remaining resources into leftovers and those that the environment keeps on purpose."""
    names, resources = tuple(kept), set(left)
    keeps = {resource for resource in resources if any(name in resource for name in names)}
    return sorted(resources - keeps), sorted(keeps)
