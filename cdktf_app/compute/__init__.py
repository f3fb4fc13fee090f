# SPDX-License-Identifier: Apache-2.0
"""The ECS cluster, its services and task definitions."""
