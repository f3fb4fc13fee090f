# SPDX-License-Identifier: Apache-2.0
# The scaler for Celery workers that already run as ECS services. docs/how-to/plain-celery.md describes its use.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}

locals {
  settings  = jsondecode(var.settings)
  name      = "${local.settings.environment}-scaler"
  prefix    = "arn:${data.aws_partition.here.partition}"
  ecs       = "${local.prefix}:ecs:${local.settings.region}:${data.aws_caller_identity.here.account_id}"
  services  = flatten(local.settings.fleets[*].services)
  addresses = flatten([for fleet in local.settings.fleets : values(fleet.queues)])
  kind      = try(local.settings.broker.kind, "sqs")
  queues = local.kind != "sqs" ? [] : [
    for url in local.addresses : "${local.prefix}:sqs:${split(".", url)[1]}:${split("/", url)[3]}:${split("/", url)[4]}"
  ]
  metrics = local.kind == "cloudwatch" || anytrue([for fleet in local.settings.fleets : can(fleet.demand_metric.namespace)])
  secrets = merge(
    { SCALER_SIGNING_SEED = aws_secretsmanager_secret_version.seed.arn },
    var.broker_url_secret_arn == null ? {} : { SCALER_BROKER_URL = var.broker_url_secret_arn }
  )
  statements = concat(
    [{
      Action   = concat(["ecs:DescribeServices"], var.dry_run ? [] : ["ecs:UpdateService"])
      Resource = [for service in local.services : "${local.ecs}:service/${local.settings.cluster}/${service}"]
      }, {
      Action   = ["ecs:DescribeTasks", "ecs:GetTaskProtection"]
      Resource = ["${local.ecs}:task/${local.settings.cluster}/*"]
    }],
    length(local.queues) == 0 ? [] : [{ Action = ["sqs:GetQueueAttributes"], Resource = local.queues }],
    local.metrics ? [{ Action = ["cloudwatch:GetMetricData"], Resource = ["*"] }] : [] # it has no resources
  )
  # ListTasks is authorised by the container instance, which Fargate does not have.
  list_tasks = {
    Effect    = "Allow"
    Action    = ["ecs:ListTasks"]
    Resource  = ["*"]
    Condition = { ArnEquals = { "ecs:cluster" = "${local.ecs}:cluster/${local.settings.cluster}" } }
  }
}

# The value is in neither plan nor state.
ephemeral "aws_secretsmanager_random_password" "seed" {
  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "seed" {
  name_prefix = "${local.name}-seed-"
}

resource "aws_secretsmanager_secret_version" "seed" {
  secret_id                = aws_secretsmanager_secret.seed.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.seed.random_password
  secret_string_wo_version = 1
}

resource "aws_cloudwatch_log_group" "scaler" {
  name              = "/openmwaa/${local.name}"
  retention_in_days = 30
}

resource "aws_iam_role" "scaler" {
  for_each = toset(["execution", "task"])
  name     = "${local.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.scaler["execution"].name
  policy_arn = "${local.prefix}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "scaler" {
  for_each = {
    execution = [{
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = [for arn in values(local.secrets) : join(":", slice(split(":", arn), 0, 7))] # without a JSON key
    }]
    task = concat([for statement in local.statements : merge(statement, { Effect = "Allow" })], [local.list_tasks])
  }
  role   = aws_iam_role.scaler[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_security_group" "scaler" {
  name_prefix = "${local.name}-"
  description = "The scaler of ${local.settings.environment}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "scaler" {
  security_group_id = aws_security_group.scaler.id
  description       = "AWS, the broker and the workers"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "agents" {
  security_group_id            = var.workers_security_group_id
  referenced_security_group_id = aws_security_group.scaler.id
  description                  = "The scaler to the agents of the workers"
  ip_protocol                  = "tcp"
  from_port                    = 8790
  to_port                      = 8790
}

resource "aws_ecs_task_definition" "scaler" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.scaler["execution"].arn
  task_role_arn            = aws_iam_role.scaler["task"].arn
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }
  container_definitions = jsonencode([{
    name                   = "scaler"
    image                  = var.scaler_image
    essential              = true
    command                = var.dry_run ? ["--dry-run"] : []
    readonlyRootFilesystem = true
    environment            = [{ name = "SCALER_CONFIG", value = jsonencode(local.settings) }]
    secrets                = [for variable, arn in local.secrets : { name = variable, valueFrom = arn }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.scaler.name
        awslogs-region        = local.settings.region
        awslogs-stream-prefix = "scaler"
      }
    }
  }])
}

resource "aws_ecs_service" "scaler" {
  name            = local.name
  cluster         = local.settings.cluster
  task_definition = aws_ecs_task_definition.scaler.arn
  desired_count   = 1
  launch_type     = "FARGATE"
  # Never two: they would overwrite each other's decisions.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.scaler.id]
    assign_public_ip = var.assign_public_ip
  }
  depends_on = [aws_iam_role_policy.scaler, aws_iam_role_policy_attachment.execution]
}
