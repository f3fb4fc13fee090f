"""A DAG in a subfolder, with a shared module, a plugin, a package and variables of the startup script."""

import os
from datetime import datetime, timezone

from airflow.decorators import dag, task
from company_operators import GreetOperator
from helpers.places import PLACES


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False, tags=["sales"])
def sales_report():
    @task
    def places():
        return PLACES

    @task
    def report(place):
        import of_requirements

        print(f"{place}: {of_requirements.VERSION} on {os.environ['COMPANY_STAGE']}, {os.environ['COMPANY_COMPONENT']}")

    report.expand(place=places()) >> GreetOperator(task_id="greet", name="{{ dag.dag_id }}")


sales_report()
