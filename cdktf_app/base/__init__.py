# SPDX-License-Identifier: Apache-2.0
"""What every construct uses: names, policies, expressions, ports, log groups."""
