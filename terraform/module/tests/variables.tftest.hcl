# SPDX-License-Identifier: Apache-2.0
# Tests of the module's variables, without an account. Terraform 1.11 cannot mock ephemeral resources, so the project's tests
# run this on a copy of the module with a fixed text in place of generated passwords (tests/unit/cdktf_app/test_module.py).
mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }
  mock_resource "aws_acm_certificate" {
    override_during = plan
    defaults = {
      arn = "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
      domain_validation_options = [{
        domain_name           = "airflow.example.com"
        resource_record_name  = "_1.airflow.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_2.acm-validations.aws"
      }]
    }
  }
}

run "a_variable_reaches_its_resource" {
  command = plan

  variables {
    name                = "Data_Platform"
    environment_class   = "mw1.xlarge"
    schedulers          = 3
    min_workers         = 4
    max_workers         = 7
    min_webservers      = 1
    max_webservers      = 5
    log_retention_days  = 7
    kms_key             = "arn:aws:kms:eu-central-1:123456789012:key/99999999-2222-3333-4444-555555555555"
    airflow_image       = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/openmwaa/airflow:mine"
    scheduler_log_level = "DEBUG"
    tags                = { team = "another" }
    airflow_configuration_options = {
      "core.parallelism"      = "12"
      "smtp.smtp_mail_from"   = "airflow@example.com"
      "logging.logging_level" = "ERROR"
    }
  }

  assert {
    condition     = aws_ecs_service.airflow_scheduler.desired_count == 3
    error_message = "schedulers is not the scheduler's desired count"
  }
  assert {
    condition     = aws_ecs_cluster.cluster.name == "openmwaa-Data_Platform"
    error_message = "name is not in the cluster's name"
  }
  assert {
    condition     = startswith(aws_lb.internal_load_balancer.name, "openmwaa-data-platfo") && length(aws_lb.internal_load_balancer.name) <= 32
    error_message = "a load balancer's name is in lower case, shortened to 32, and has a digest"
  }
  assert {
    condition     = aws_ecs_task_definition.airflow_scheduler.cpu == "8192" && aws_ecs_task_definition.airflow_scheduler.memory == "24576"
    error_message = "environment_class is not the scheduler's size"
  }
  assert {
    condition     = aws_ecs_task_definition.fleets_default.cpu == "8192"
    error_message = "environment_class is not the size of workers"
  }
  assert {
    condition     = [for fleet in local.scaler_config.fleets : [fleet.min, fleet.max, fleet.slots] if fleet.name == "default"][0] == [4, 7, 40]
    error_message = "min_workers, max_workers and the class's slots are not in the scaler's settings"
  }
  assert {
    condition     = aws_appautoscaling_target.airflow_web_autoscaling.min_capacity == 1 && aws_appautoscaling_target.airflow_web_autoscaling.max_capacity == 5
    error_message = "min_webservers and max_webservers are not the bounds of autoscaling"
  }
  assert {
    condition     = aws_cloudwatch_log_group.logs_task.retention_in_days == 7 && aws_cloudwatch_log_group.logs_task.kms_key_id == var.kms_key
    error_message = "log_retention_days or kms_key does not reach the log groups"
  }
  assert {
    condition     = aws_cloudwatch_log_group.logs_task.tags == tomap({ team = "another", "openmwaa:environment" = "Data_Platform" })
    error_message = "tags do not reach what has none of its own"
  }
  assert {
    condition     = aws_vpc.network.tags == tomap({ team = "another", "openmwaa:environment" = "Data_Platform", Name = "openmwaa-Data_Platform" })
    error_message = "tags do not reach what has some of its own"
  }
  assert {
    condition     = alltrue([for one in local.airflow_scheduler_containers : one.image == var.airflow_image])
    error_message = "airflow_image is not what the scheduler runs"
  }
  assert {
    condition = {
      for one in [for container in local.airflow_scheduler_containers : container if container.name == "scheduler"][0].environment : one.name => one.value
      if contains(["AIRFLOW__CORE__PARALLELISM", "AIRFLOW__SMTP__SMTP_MAIL_FROM", "AIRFLOW__LOGGING__LOGGING_LEVEL"], one.name)
      } == {
      AIRFLOW__CORE__PARALLELISM      = "12"
      AIRFLOW__SMTP__SMTP_MAIL_FROM   = "airflow@example.com"
      AIRFLOW__LOGGING__LOGGING_LEVEL = "ERROR"
    }
    error_message = "Airflow's options are not the scheduler's variables, or do not win over scheduler_log_level"
  }
}

run "what_is_outside_the_models_bounds_is_refused" {
  command = plan

  variables {
    name                          = "4 me"
    environment_class             = "mw1.tiny"
    schedulers                    = 6
    min_workers                   = 0.5
    min_webservers                = 0
    dag_s3_path                   = "/dags"
    task_log_level                = "LOUD"
    log_retention_days            = 31
    kms_key                       = "alias/mine"
    airflow_image                 = "docker.io/apache/airflow:3.3.2"
    airflow_configuration_options = { Parallelism = "1" }
  }

  expect_failures = [
    var.name, var.environment_class, var.schedulers, var.min_workers, var.min_webservers, var.dag_s3_path,
    var.task_log_level, var.log_retention_days, var.kms_key, var.airflow_image, var.airflow_configuration_options,
  ]
}

run "what_contradicts_another_is_refused" {
  command = plan

  variables {
    min_workers    = 9
    max_workers    = 8
    min_webservers = 4
    max_webservers = 3
  }

  expect_failures = [var.max_workers, var.max_webservers]
}
