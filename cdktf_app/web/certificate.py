# SPDX-License-Identifier: Apache-2.0
"""The ACM certificate of a domain and its further names; DNS validation allows automatic renewal."""

from collections.abc import Sequence

from cdktn import TerraformResourceLifecycle
from cdktn_provider_aws.acm_certificate import AcmCertificate
from cdktn_provider_aws.acm_certificate_validation import AcmCertificateValidation
from cdktn_provider_aws.route53_record import Route53Record
from constructs import Construct

from cdktf_app.base.local_values import overridable_local


class Certificate(Construct):
    """A public certificate of `names`, the domain first; `arn` is available after ACM has issued it."""

    def __init__(self, scope: Construct, construct_id: str, *, names: Sequence[str], zone_id: str) -> None:
        super().__init__(scope, construct_id)
        certificate = AcmCertificate(
            self,
            "certificate",
            domain_name=names[0],
            subject_alternative_names=list(names[1:]),
            validation_method="DNS",
            tags={"Name": names[0]},
            # Listeners change to the new certificate before the old one is deleted.
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        records = Route53Record(
            self,
            "proof",
            zone_id=zone_id,
            name="${each.value.resource_record_name}",
            type="${each.value.resource_record_type}",
            records=["${each.value.resource_record_value}"],
            ttl=60,
            # An account has one validation record per name, for all Regions.
            allow_overwrite=True,
        )
        records.add_override(
            "for_each",
            f"${{{{for option in {certificate.fqn}.domain_validation_options : option.domain_name => option}}}}",
        )
        validation = AcmCertificateValidation(
            self, "validation", certificate_arn=certificate.arn, validation_record_fqdns=[]
        )
        validation.add_override("validation_record_fqdns", f"${{[for record in {records.fqn} : record.fqdn]}}")
        self.arn = overridable_local(self, "arn", validation.certificate_arn)
