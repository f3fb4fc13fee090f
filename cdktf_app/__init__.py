# SPDX-License-Identifier: Apache-2.0
"""An environment as Terraform, written with the CDK."""
