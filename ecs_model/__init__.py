# SPDX-License-Identifier: Apache-2.0
"""What an ECS service scheduler does with services, tasks, protection and deployments: pure, time passed in."""
