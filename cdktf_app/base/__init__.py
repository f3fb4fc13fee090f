# SPDX-License-Identifier: Apache-2.0
"""Helpers of all constructs: names, policies, expressions, log groups, the AWS scope."""
