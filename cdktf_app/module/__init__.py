# SPDX-License-Identifier: Apache-2.0
"""The stack of an environment as a module that other Terraform calls: the same resources, with variables in them."""
