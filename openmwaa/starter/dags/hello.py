"""A first DAG: one task makes a greeting, the next one prints it."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False, tags=["example"])
def hello() -> None:
    """Greet."""

    @task
    def greeting(name: str) -> str:
        return f"Hello, {name}!"

    @task
    def show(text: str) -> None:
        print(text)

    show(greeting("Airflow"))


hello()
