# SPDX-License-Identifier: Apache-2.0
"""The scaler's settings, overrides and schedules."""
