# SPDX-License-Identifier: Apache-2.0
"""What an environment costs: a month's floor and a worker-hour, computed from its Terraform."""
