# SPDX-License-Identifier: Apache-2.0
"""The KMS key, IAM roles and generated secrets of an environment."""
