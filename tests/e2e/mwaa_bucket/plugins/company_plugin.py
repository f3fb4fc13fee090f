"""A plugin as Airflow has them."""

from airflow.plugins_manager import AirflowPlugin


class CompanyPlugin(AirflowPlugin):
    name = "company"
