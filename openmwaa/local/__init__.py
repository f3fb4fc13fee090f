# SPDX-License-Identifier: Apache-2.0
"""An environment on this machine: emulated AWS APIs, a local ECS that runs real tasks, an embedded PostgreSQL."""
