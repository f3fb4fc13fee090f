# SPDX-License-Identifier: Apache-2.0
"""What an apply would do to an environment, read from Terraform's plan and judged before anybody applies it.

terraform  runs init, plan and show
changes    reads the plan's JSON into changes
constant   fields that cannot change once the environment exists
verdict    judges: unchanged, changed, or refused with the field that causes it
render     writes it for people, programs and pull requests
"""
