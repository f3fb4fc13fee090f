# SPDX-License-Identifier: Apache-2.0
"""What commands know and do about an environment that runs: in AWS or on this machine."""
