# SPDX-License-Identifier: Apache-2.0
"""IAM login: a caller proves its AWS identity, and IAM decides its role in Airflow."""
