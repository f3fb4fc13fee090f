# SPDX-License-Identifier: Apache-2.0
"""Alarms, their SNS topic, and the CloudWatch dashboard."""
