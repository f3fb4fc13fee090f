# SPDX-License-Identifier: Apache-2.0
"""Review of a Terraform plan before an apply.

terraform         runs init, plan, show and apply
changes           parses the plan's JSON
immutable_fields  fields that cannot change after the first apply
verdict           the result: unchanged, changed, or refused with the field that causes it
review            makes a plan and judges it
render            text, JSON and Markdown
"""
