#!/bin/sh
set -e
export COMPANY_STAGE=production
if [ "$MWAA_AIRFLOW_COMPONENT" = worker ]; then
  echo "preparing a worker"
  export COMPANY_COMPONENT=$MWAA_AIRFLOW_COMPONENT
fi
