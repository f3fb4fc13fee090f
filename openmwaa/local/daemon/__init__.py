# SPDX-License-Identifier: Apache-2.0
"""The background process of a local environment, and its control socket."""
