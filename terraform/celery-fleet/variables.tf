# SPDX-License-Identifier: Apache-2.0
variable "settings" {
  type        = string
  description = "The scaler's settings, as JSON: `file(\"scaler.json\")`. Cluster, services, queues and bounds come from them."
}

variable "scaler_image" {
  type        = string
  description = "The scaler's image, by digest or immutable tag."
}

variable "vpc_id" {
  type        = string
  description = "The VPC of the workers."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Subnets of the scaler, from which it reaches AWS, the broker and the workers."
}

variable "workers_security_group_id" {
  type        = string
  description = "The security group of the workers; it gets a rule for port 8790 from the scaler."
}

variable "broker_url_secret_arn" {
  type        = string
  default     = null
  description = "For Redis: the secret with Celery's broker URL, or ARN:KEY:: of JSON. Then leave `broker.url` out of the settings."
}

variable "assign_public_ip" {
  type        = bool
  default     = false
  description = "Whether the scaler gets a public address, for public subnets without a NAT gateway."
}

variable "architecture" {
  type        = string
  default     = "ARM64"
  description = "The processor of the image: ARM64 or X86_64."
}

variable "dry_run" {
  type        = bool
  default     = false
  description = "Whether the scaler logs its decisions and changes nothing; its role then cannot change a service."
}
