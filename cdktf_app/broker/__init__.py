# SPDX-License-Identifier: Apache-2.0
"""Celery's broker: SQS, or Redis by ElastiCache."""
