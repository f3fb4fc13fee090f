"""Tests of the DAGs. Run them with `python -m unittest discover tests`, or with pytest."""

import json
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[1]


class TestDags(unittest.TestCase):
    """The DAGs of the folder `dags`."""

    def test_airflow_can_run_every_dag(self) -> None:
        """No import error, no cycle, and every queue has a fleet."""
        done = subprocess.run(
            ["openmwaa", "dags", "check", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertTrue(done.stdout, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["findings"], [])
        self.assertIn("hello", found["dags"])
