# SPDX-License-Identifier: Apache-2.0
variable "region" {
  type        = string
  description = "Where the bucket and the registry are: the Region of your environments."
}

variable "state_bucket" {
  type        = string
  default     = null
  description = "Name of the state bucket; openmwaa-state-ACCOUNT-REGION when left out."
}

variable "github_repository" {
  type        = string
  default     = null
  description = "OWNER/NAME of the GitHub repository whose pipeline deploys; left out, there is no role for one."

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "A GitHub repository is OWNER/NAME, such as example/data-platform."
  }
}

variable "github_environment" {
  type        = string
  default     = "production"
  description = "The GitHub environment whose jobs may apply: protect it there by required reviewers."
}

variable "github_oidc_provider_arn" {
  type        = string
  default     = null
  description = "GitHub's OIDC provider, where the account has it already: there can be one only. Left out, it is made."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = null
  description = "The boundary of the roles made here. With one, every role that the pipeline makes must have it too."
}
