# SPDX-License-Identifier: Apache-2.0
"""Access to the web server: load balancers, CloudFront, WAF, certificate, DNS records."""
