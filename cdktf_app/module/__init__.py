# SPDX-License-Identifier: Apache-2.0
"""The stack of an environment as a reusable Terraform module with variables."""
