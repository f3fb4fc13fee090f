# SPDX-License-Identifier: Apache-2.0
# Permissions of the pipeline's roles. The README explains the wide ones.
locals {
  roles = "arn:${local.partition}:iam::${local.account}:role/*openmwaa-*" # with any path and prefix

  read_state = [
    {
      Sid      = "ReadState"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:ListBucket"]
      Resource = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/openmwaa/*"]
    },
    {
      Sid      = "LockState"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:DeleteObject"]
      Resource = ["${aws_s3_bucket.state.arn}/openmwaa/*.tflock"]
    },
    {
      Sid      = "UseStateKey"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = [aws_kms_key.state.arn]
    },
  ]
  write_state = [{
    Sid      = "WriteState"
    Effect   = "Allow"
    Action   = ["s3:PutObject"]
    Resource = ["${aws_s3_bucket.state.arn}/openmwaa/*"]
  }]
  push_images = [
    { Sid = "LogInToRegistry", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    {
      Sid    = "PushImages"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
      ]
      Resource = [for repository in aws_ecr_repository.image : repository.arn]
    },
  ]
  # Calls of the provider that SecurityAudit does not include.
  read_more = [{
    Sid    = "ReadMore"
    Effect = "Allow"
    Action = [
      "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
      "application-autoscaling:ListTagsForResource", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource",
      "cognito-idp:DescribeUserPool", "ecr:ListTagsForResource", "ecs:DescribeServices",
      "ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "ecs:ListTagsForResource", "ecs:ListTasks",
      "elasticache:ListTagsForResource", "kms:ListResourceTags", "logs:ListTagsForResource",
      "s3:GetBucketOwnershipControls", "secretsmanager:DescribeSecret", "secretsmanager:GetRandomPassword",
      "sqs:ListQueueTags", "wafv2:ListTagsForResource",
    ]
    Resource = ["*"]
  }]
  # The ids of these services' resources are not known in advance: the Region is the limit.
  build = [{
    Sid    = "Build"
    Effect = "Allow"
    Action = [
      "acm:*", "application-autoscaling:*", "cloudfront:*", "cloudwatch:*", "cognito-idp:DescribeUserPool*",
      "cognito-idp:UpdateUserPoolClient", "ec2:*", "ecr:*", "ecs:*", "elasticache:*", "elasticloadbalancing:*",
      "kms:*", "logs:*", "rds:*", "route53:*", "s3:*", "secretsmanager:*", "sns:*", "sqs:*", "ssm:*", "wafv2:*",
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
        "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies", "iam:ListRoleTags", "iam:TagRole", "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
      ]
      Resource = [local.roles]
    },
    {
      Sid      = "GiveRolesToTasks"
      Effect   = "Allow"
      Action   = ["iam:PassRole"]
      Resource = [local.roles]
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
    {
      # Terraform writes secrets and never reads one.
      Sid      = "NoSecretIsRead"
      Effect   = "Deny"
      Action   = ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"]
      Resource = ["*"]
    },
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
