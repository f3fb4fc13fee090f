# SPDX-License-Identifier: Apache-2.0
"""What must be installed here before an environment can start."""
