# SPDX-License-Identifier: Apache-2.0
"""Keeps each worker fleet exactly as large as its tasks need, without stopping a worker that works."""
