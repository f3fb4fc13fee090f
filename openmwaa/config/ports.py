# SPDX-License-Identifier: Apache-2.0
"""TCP ports of the components: used by the Terraform and by the local environment."""

from typing import Final

WEB_PORT: Final = 8080
EXECUTION_API_PORT: Final = 8081
SCALER_PORT: Final = 8082
AGENT_PORT: Final = 8790
DATABASE_PORT: Final = 5432
REDIS_PORT: Final = 6379
HTTPS_PORT: Final = 443
