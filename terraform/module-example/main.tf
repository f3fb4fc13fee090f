# SPDX-License-Identifier: Apache-2.0
# An environment from the module. Inputs that are not set here have the values of the YAML file.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  region = "eu-central-1" # the module's Region: it refuses another
}

module "airflow" {
  source = "../module"

  name              = "data-platform"
  environment_class = "mw1.medium"
  min_workers       = 1
  max_workers       = 20

  airflow_configuration_options = {
    "core.default_task_retries" = "3"
  }
  tags = { team = "data-platform" }
}

output "web_url" {
  value = module.airflow.web_url
}
