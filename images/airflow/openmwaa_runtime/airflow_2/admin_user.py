# SPDX-License-Identifier: Apache-2.0
"""The user `admin` of Airflow 2, with the generated password. The web server creates it after the roles."""

import os

from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride
from werkzeug.security import check_password_hash  # type: ignore[import-not-found]

from openmwaa_runtime.admin_password import ADMINISTRATOR


class AdminSecurityManager(FabAirflowSecurityManagerOverride):  # type: ignore[misc] # mypy runs without Airflow
    """Airflow's own, with this user."""

    def sync_roles(self) -> None:
        """Create or change the roles, then the user."""
        super().sync_roles()
        password = os.environ["OPENMWAA_ADMIN_PASSWORD"]
        user = self.find_user(username=ADMINISTRATOR)
        if user is None:
            names = (ADMINISTRATOR, ADMINISTRATOR, "", f"{ADMINISTRATOR}@localhost")
            self.add_user(*names, role=self.find_role("Admin"), password=password)
        elif not check_password_hash(user.password, password):
            self.reset_password(user.id, password)
