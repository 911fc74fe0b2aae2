output "releases" {
  description = "For --out."
  value       = [for name in var.releases : "s3://${aws_s3_bucket.press.id}/${name}"]
}

output "models" {
  description = "Where --model may be read from."
  value       = "s3://${aws_s3_bucket.press.id}/models/"
}

output "image" {
  description = "Where `docker push` puts the image."
  value       = aws_ecr_repository.image.repository_url
}

output "ray_up" {
  description = "ray-up-aws.yaml with the names of what is here, for `ray up`."
  value       = local.ray_up
}
