# SPDX-License-Identifier: Apache-2.0
"""Tasks as processes: what a container runtime is to ECS, on one machine and without Docker."""
