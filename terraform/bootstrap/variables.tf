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
