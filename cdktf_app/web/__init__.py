# SPDX-License-Identifier: Apache-2.0
"""How browsers and API clients reach the web server."""
