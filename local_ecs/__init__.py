# SPDX-License-Identifier: Apache-2.0
"""An ECS on this machine: a pure model, the AWS API over it, and tasks as processes."""
