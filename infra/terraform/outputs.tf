output "releases" {
  description = "For --out."
  value       = [for name in var.releases : "s3://${aws_s3_bucket.press.id}/${name}"]
}

output "models" {
  description = "Where --model may be read from."
  value       = "s3://${aws_s3_bucket.press.id}/models/"
}

output "instance_profiles" {
  description = "For ray-up-aws.yaml."
  value = {
    head    = aws_iam_instance_profile.head.arn
    workers = aws_iam_instance_profile.press.arn
  }
}
