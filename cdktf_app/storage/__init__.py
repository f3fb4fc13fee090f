# SPDX-License-Identifier: Apache-2.0
"""S3 buckets: DAGs, access logs, Terraform state."""
