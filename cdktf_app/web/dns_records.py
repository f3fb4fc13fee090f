# SPDX-License-Identifier: Apache-2.0
"""DNS records of the load balancers in a Route 53 zone."""

from __future__ import annotations

from collections.abc import Mapping

from cdktn_provider_aws.lb import Lb
from cdktn_provider_aws.route53_record import Route53Record, Route53RecordAlias
from constructs import Construct


class DnsRecords(Construct):
    """Alias records; they follow the load balancer's addresses, and queries are free."""

    def __init__(self, scope: Construct, construct_id: str, *, zone_id: str, aliases: Mapping[str, Lb]) -> None:
        super().__init__(scope, construct_id)
        for word, (name, balancer) in zip(("web", "internal"), aliases.items(), strict=True):
            Route53Record(
                self,
                word,
                zone_id=zone_id,
                name=name,
                type="A",
                alias=Route53RecordAlias(
                    name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=False
                ),
            )
