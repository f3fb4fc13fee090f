# SPDX-License-Identifier: Apache-2.0
"""`make verify`: applies every example with the real Terraform, plans again, destroys, and runs checkov."""
