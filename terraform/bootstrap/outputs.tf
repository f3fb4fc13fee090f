# SPDX-License-Identifier: Apache-2.0
output "state_bucket" {
  description = "For `terraform_state.bucket` of every environment"
  value       = aws_s3_bucket.state.bucket
}

output "state_kms_key" {
  description = "The key of the state; the bucket uses it by default"
  value       = aws_kms_key.state.arn
}

output "repositories" {
  description = "Where the pipeline pushes the images"
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "plan_role_arn" {
  description = "For the pipeline's variable AWS_PLAN_ROLE_ARN: jobs of pull requests; reads, and changes only the lock of the state"
  value       = one(aws_iam_role.plan[*].arn)
}

output "main_role_arn" {
  description = "For the pipeline's variable AWS_MAIN_ROLE_ARN: jobs of main; reads as the plan role, and pushes images"
  value       = one(aws_iam_role.main[*].arn)
}

output "deploy_role_arn" {
  description = "For the pipeline's variable AWS_DEPLOY_ROLE_ARN: applies"
  value       = one(aws_iam_role.deploy[*].arn)
}
