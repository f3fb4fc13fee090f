# SPDX-License-Identifier: Apache-2.0
variable "region" {
  type        = string
  description = "The Region of the bucket and the registry: that of your environments."
}

variable "state_bucket" {
  type        = string
  default     = null
  description = "Name of the state bucket. Default: openmwaa-state-ACCOUNT-REGION."
}

variable "github_repository" {
  type        = string
  default     = null
  description = "OWNER/NAME of the GitHub repository with the pipeline. Without it, no roles for a pipeline are created."

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "A GitHub repository is OWNER/NAME, such as example/data-platform."
  }
}

variable "github_environment" {
  type        = string
  default     = "production"
  description = "The GitHub environment whose jobs may apply. Protect it with required reviewers."
}

variable "github_oidc_provider_arn" {
  type        = string
  default     = null
  description = "ARN of GitHub's OIDC provider, if the account has one: only one is possible. Without it, the provider is created."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = null
  description = "The boundary of the roles created here. If set, every role that the pipeline creates must have it too."
}

variable "aws_provider" {
  type        = number
  default     = 6
  description = "Major version of the AWS provider of your environments. 6 means 6.26 or newer, which reads no secret; 5 reads every secret that it wrote."

  validation {
    condition     = contains([5, 6], var.aws_provider)
    error_message = "The AWS provider has the major version 5 or 6."
  }
}

variable "oidc_client_secret_arns" {
  type        = list(string)
  default     = []
  description = "Each `web_access.oidc.client_secret_arn` of your environments: Terraform passes its value to the load balancer. Jobs of pull requests do not get it."
}

variable "more_roles_to_pass" {
  type        = list(string)
  default     = []
  description = "ARNs of your own roles that an apply gives to tasks, such as `execution_role_arn`."
}
