# SPDX-License-Identifier: Apache-2.0
# Permissions of the pipeline's roles. The README explains the wide ones.
locals {
  roles = "arn:${local.partition}:iam::${local.account}:role/*openmwaa-*" # with any path and prefix

  # Environments with `web_access.oidc` have the client's secret in their state, and so a folder of their own.
  state_folders = { plan = ["openmwaa"], main = ["openmwaa", "openmwaa-secret"] }
  # Secrets whose values Terraform reads. Provider 5 reads each secret that it wrote.
  own_secrets  = var.aws_provider == 5 ? ["arn:${local.partition}:secretsmanager:${var.region}:${local.account}:secret:openmwaa-*"] : []
  read_secrets = { plan = local.own_secrets, main = concat(local.own_secrets, var.oidc_client_secret_arns) }

  read = {
    for role, folders in local.state_folders : role => concat([
      {
        Sid      = "ReadState"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:ListBucket"]
        Resource = concat([aws_s3_bucket.state.arn], [for folder in folders : "${aws_s3_bucket.state.arn}/${folder}/*"])
      },
      {
        Sid      = "LockState"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject"]
        Resource = [for folder in folders : "${aws_s3_bucket.state.arn}/${folder}/*.tflock"]
      },
      {
        Sid      = "UseStateKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [aws_kms_key.state.arn]
      },
      ], [
      for secrets in [local.read_secrets[role]] : {
        Sid      = "ReadSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = secrets
      } if length(secrets) > 0
      ], [
      for secrets in [local.read_secrets[role]] : {
        Sid      = "DecryptSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = ["arn:${local.partition}:kms:${var.region}:${local.account}:key/*"] # the ids are not known; the secret is the limit
        Condition = {
          StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.${data.aws_partition.here.dns_suffix}" }
          ArnLike      = { "kms:EncryptionContext:SecretARN" = secrets }
        }
      } if length(secrets) > 0
    ])
  }
  push_images = [
    { Sid = "LogInToRegistry", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    {
      Sid    = "PushImages"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload",
        "ecr:PutImage", "ecr:UploadLayerPart",
      ]
      Resource = [for repository in aws_ecr_repository.image : repository.arn]
    },
  ]
  # Calls of the provider that SecurityAudit does not include, or not everywhere.
  read_more = [{
    Sid    = "ReadMore"
    Effect = "Allow"
    Action = [
      "application-autoscaling:ListTagsForResource", "cloudfront:DescribeFunction", "logs:GetDelivery",
      "logs:GetDeliveryDestination", "logs:GetDeliverySource", "s3:ListTagsForResource",
      "secretsmanager:GetRandomPassword", "sns:GetSubscriptionAttributes", "wafv2:GetIPSet",
    ]
    Resource = ["*"]
  }]
  # `openmwaa wait` reads whether an environment sleeps; `openmwaa deploy` keeps it awake.
  sleep_parameters = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/openmwaa/*/sleep"
  read_sleep = [
    { Sid = "ReadSleep", Effect = "Allow", Action = ["ssm:GetParameters"], Resource = [local.sleep_parameters, "${local.sleep_parameters}-memory"] },
  ]
  keep_awake = [
    { Sid = "KeepAwake", Effect = "Allow", Action = ["ssm:PutParameter"], Resource = [local.sleep_parameters] },
  ]
  # The ids of these services' resources are not known in advance: the Region is the limit.
  build = [{
    Sid    = "Build"
    Effect = "Allow"
    Action = [
      "acm:*", "application-autoscaling:*", "cloudfront:*", "cloudwatch:*", "cognito-idp:DescribeUserPool*",
      "cognito-idp:UpdateUserPoolClient", "ec2:*", "ecr:*", "ecs:*", "elasticache:*", "elasticloadbalancing:*",
      "kms:*", "logs:*", "rds:*", "route53:*", "s3:*", "secretsmanager:*", "servicequotas:Get*", "sns:*", "sqs:*",
      "wafv2:*",
    ]
    Resource  = ["*"]
    Condition = { StringEquals = { "aws:RequestedRegion" = [var.region, "us-east-1"] } } # CloudFront, Route 53, WAF
  }]
  name_roles = [
    {
      Sid    = "WriteRoles"
      Effect = "Allow"
      Action = [
        "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
        "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
      ]
      Resource  = [local.roles]
      Condition = var.permissions_boundary_arn == null ? {} : local.bounded
    },
    {
      Sid    = "KeepRoles"
      Effect = "Allow"
      Action = [
        "iam:DeleteRole", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:TagRole", "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
      ]
      Resource = [local.roles]
    },
    {
      Sid      = "GiveRolesToTasks"
      Effect   = "Allow"
      Action   = ["iam:PassRole"]
      Resource = concat([local.roles], var.more_roles_to_pass)
      Condition = {
        StringEquals = { "iam:PassedToService" = ["ecs-tasks.amazonaws.com", "monitoring.rds.amazonaws.com", "vpc-flow-logs.amazonaws.com"] }
      }
    },
    {
      Sid      = "ServiceLinkedRoles"
      Effect   = "Allow"
      Action   = ["iam:CreateServiceLinkedRole"]
      Resource = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/*"]
    },
  ]
  bounded = { StringEquals = { "iam:PermissionsBoundary" = coalesce(var.permissions_boundary_arn, "none") } }
  never = [
    # Terraform writes secrets, and reads no others than these.
    merge({
      Sid    = "NoSecretIsRead"
      Effect = "Deny"
      Action = ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"]
      }, {
      for secrets in [local.read_secrets["main"]] :
      (length(secrets) > 0 ? "NotResource" : "Resource") => length(secrets) > 0 ? secrets : ["*"]
    }),
    {
      # The pipeline must not change its own limits.
      Sid      = "StateStays"
      Effect   = "Deny"
      Action   = ["s3:DeleteBucket*", "s3:PutBucket*", "s3:PutLifecycleConfiguration", "s3:DeleteObjectVersion"]
      Resource = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
    },
    {
      Sid      = "StateKeyStays"
      Effect   = "Deny"
      Action   = ["kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy", "kms:CreateGrant"]
      Resource = [aws_kms_key.state.arn]
    },
  ]
}
