# SPDX-License-Identifier: Apache-2.0
"""Terraform for the local environment: overrides, provider mirror, what was applied."""
