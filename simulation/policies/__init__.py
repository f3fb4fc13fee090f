# SPDX-License-Identifier: Apache-2.0
"""Scaling rules for the simulator: the published ones, and ours."""
