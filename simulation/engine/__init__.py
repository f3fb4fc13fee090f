# SPDX-License-Identifier: Apache-2.0
"""Days of an environment in virtual time: Airflow's scheduler, a broker, fleets of workers and a policy over them."""
