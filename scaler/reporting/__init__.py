# SPDX-License-Identifier: Apache-2.0
"""What the scaler reports: log lines, metrics, the HTTP API and the page."""
