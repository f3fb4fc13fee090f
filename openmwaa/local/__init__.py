# SPDX-License-Identifier: Apache-2.0
"""AWS on this machine: emulated APIs, an ECS that really runs tasks, an embedded PostgreSQL."""
