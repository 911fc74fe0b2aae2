# The bucket: versioned, tidy, closed until `public` names releases, and then open for their prefixes alone.

resource "aws_s3_bucket" "press" {
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "press" {
  bucket = aws_s3_bucket.press.id

  rule {
    object_ownership = "BucketOwnerEnforced" # no ACLs: the policies below are all there is
  }
}

# A key of S3's own: with one of KMS nobody could read without an account.
resource "aws_s3_bucket_server_side_encryption_configuration" "press" {
  bucket = aws_s3_bucket.press.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "press" {
  bucket = aws_s3_bucket.press.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "press" {
  bucket     = aws_s3_bucket.press.id
  depends_on = [aws_s3_bucket_versioning.press]

  rule {
    id     = "abort-multipart-leftovers"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  rule {
    id     = "expire-noncurrent-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.keep_noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }
}

resource "aws_s3_bucket_public_access_block" "press" {
  bucket                  = aws_s3_bucket.press.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = length(var.public) == 0
  restrict_public_buckets = length(var.public) == 0
}

resource "aws_s3_bucket_policy" "public_read" {
  count      = length(var.public) > 0 ? 1 : 0
  bucket     = aws_s3_bucket.press.id
  policy     = data.aws_iam_policy_document.public_read.json
  depends_on = [aws_s3_bucket_public_access_block.press]
}
