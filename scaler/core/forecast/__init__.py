# SPDX-License-Identifier: Apache-2.0
"""What Airflow will need soon: the plan that its database shows, and the slots expected from it."""
