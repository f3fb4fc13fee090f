# SPDX-License-Identifier: Apache-2.0
"""The container runtime of the local ECS: containers are processes of this machine, without Docker."""
