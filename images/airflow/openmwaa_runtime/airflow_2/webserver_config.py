# SPDX-License-Identifier: Apache-2.0
"""Read by the web server of Airflow 2: names in capitals are options of Flask."""

import os

from flask_appbuilder.const import AUTH_DB

from openmwaa_runtime.auth.settings import uses_iam_login

AUTH_TYPE = AUTH_DB
WTF_CSRF_ENABLED = True
SECURITY_MANAGER_CLASS: type
if uses_iam_login(os.environ):
    from openmwaa_runtime.airflow_2.iam_login import IamSecurityManager

    SECURITY_MANAGER_CLASS = IamSecurityManager
else:
    from openmwaa_runtime.airflow_2.admin_user import AdminSecurityManager

    SECURITY_MANAGER_CLASS = AdminSecurityManager
