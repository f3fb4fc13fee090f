# SPDX-License-Identifier: Apache-2.0
"""The VPC, its zones and endpoints, security groups and flow logs."""
