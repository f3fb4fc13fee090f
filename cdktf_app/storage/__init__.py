# SPDX-License-Identifier: Apache-2.0
"""S3: the buckets of DAGs and access logs, and the backend of Terraform's state."""
