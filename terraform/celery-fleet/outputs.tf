# SPDX-License-Identifier: Apache-2.0
output "public_key_command" {
  description = "Prints the value of the workers' WORKER_AGENT_PUBLIC_KEY"
  value       = "SCALER_SIGNING_SEED=\"$(aws secretsmanager get-secret-value --region ${local.settings.region} --secret-id ${aws_secretsmanager_secret.seed.arn} --query SecretString --output text)\" openmwaa-scaler public-key"
}

output "security_group_id" {
  description = "The scaler's security group; Redis must admit it"
  value       = aws_security_group.scaler.id
}

output "log_group" {
  description = "The log group with the decisions"
  value       = aws_cloudwatch_log_group.scaler.name
}
