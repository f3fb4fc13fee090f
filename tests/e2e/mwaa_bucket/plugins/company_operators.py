"""An operator of the company, which DAGs import by its name."""

from airflow.models import BaseOperator


class GreetOperator(BaseOperator):
    template_fields = ("name",)

    def __init__(self, name, **arguments):
        super().__init__(**arguments)
        self.name = name

    def execute(self, context):
        print(f"Hello from plugins.zip, {self.name}")
