# SPDX-License-Identifier: Apache-2.0
"""Read by the web server of Airflow 2: names in capitals are options of Flask."""

from flask_appbuilder.const import AUTH_DB

from openmwaa_runtime.airflow_2.admin_user import AdminSecurityManager

AUTH_TYPE = AUTH_DB
WTF_CSRF_ENABLED = True
SECURITY_MANAGER_CLASS = AdminSecurityManager
