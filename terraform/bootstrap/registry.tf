# SPDX-License-Identifier: Apache-2.0
# Repositories outside of any environment: the images exist before the first apply, and all environments share them.
resource "aws_ecr_repository" "image" {
  for_each             = toset(["airflow", "scaler"])
  name                 = "openmwaa/${each.key}"
  image_tag_mutability = "IMMUTABLE" # an earlier image can run again

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.state.arn
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  for_each   = aws_ecr_repository.image
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Images without a tag"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
