# SPDX-License-Identifier: Apache-2.0
"""`make verify`: every example applied, planned again and destroyed by the real Terraform, and checked for findings."""
