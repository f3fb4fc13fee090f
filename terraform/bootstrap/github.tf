# SPDX-License-Identifier: Apache-2.0
# A GitHub pipeline assumes roles without a stored key: GitHub signs the identity of the job, and IAM checks it.
locals {
  github   = var.github_repository == null ? 0 : 1
  provider = coalesce(var.github_oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn), "none")
  issuer   = "token.actions.githubusercontent.com"

  # A pull request can change the workflow, so its role reads only what each author of one may see. Images and secrets
  # are for jobs of main, and only a job of the protected environment may apply.
  subjects = {
    plan   = ["repo:${coalesce(var.github_repository, "none")}:pull_request"]
    main   = ["repo:${coalesce(var.github_repository, "none")}:ref:refs/heads/main"]
    deploy = ["repo:${coalesce(var.github_repository, "none")}:environment:${var.github_environment}"]
  }
  trust = {
    for role, subjects in local.subjects : role => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "JobsOfTheRepository"
        Effect    = "Allow"
        Principal = { Federated = local.provider }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${local.issuer}:aud" = "sts.amazonaws.com"
            "${local.issuer}:sub" = subjects
          }
        }
      }]
    })
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.github_repository != null && var.github_oidc_provider_arn == null ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "plan" {
  count                = local.github
  name                 = "github-plans-openmwaa"
  description          = "Reads resources and the Terraform states without secrets"
  assume_role_policy   = local.trust["plan"]
  permissions_boundary = var.permissions_boundary_arn
}

# Reads metadata only: no object, message, log line or secret.
resource "aws_iam_role_policy_attachment" "plan" {
  count      = local.github
  role       = aws_iam_role.plan[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/SecurityAudit"
}

resource "aws_iam_role_policy" "plan" {
  count  = local.github
  name   = "plan"
  role   = aws_iam_role.plan[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.read["plan"], local.read_more) })
}

resource "aws_iam_role" "main" {
  count                = local.github
  name                 = "github-builds-openmwaa"
  description          = "Pushes images, reads resources and the Terraform states"
  assume_role_policy   = local.trust["main"]
  permissions_boundary = var.permissions_boundary_arn
  max_session_duration = 7200
}

resource "aws_iam_role_policy_attachment" "main" {
  count      = local.github
  role       = aws_iam_role.main[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/SecurityAudit"
}

resource "aws_iam_role_policy" "main" {
  count  = local.github
  name   = "main"
  role   = aws_iam_role.main[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.read["main"], local.read_more, local.read_sleep, local.push_images) })
}

resource "aws_iam_role" "deploy" {
  count                = local.github
  name                 = "github-deploys-openmwaa"
  description          = "Builds, changes and destroys environments"
  assume_role_policy   = local.trust["deploy"]
  permissions_boundary = var.permissions_boundary_arn
  max_session_duration = 7200 # an apply waits for a new database and a healthy control plane
}

resource "aws_iam_role_policy" "deploy" {
  count  = local.github
  name   = "deploy"
  role   = aws_iam_role.deploy[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.build, local.read_sleep, local.keep_awake, local.name_roles, local.never) })
}
