variable "bucket" {
  description = "Bucket of the release and the models; made here."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket)) && !strcontains(var.bucket, "release-1")
    error_message = "Expected 3 to 63 lower-case letters, digits and hyphens, without \"release-1\"."
  }
}

variable "releases" {
  description = "Prefixes of the releases: the last parts of s3://bucket/release. Name them all each time."
  type        = list(string)
  default     = ["release-1"]

  validation {
    condition     = length(var.releases) > 0 && alltrue([for name in var.releases : can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*$", name)) && name != "models"])
    error_message = "Expected letters, digits, dots, hyphens and underscores, and not \"models\"."
  }
}

variable "public" {
  description = "Which of the releases anybody may read and list. Name one once `brainpress verify` passes."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.public : can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*$", name)) && name != "models"])
    error_message = "Expected names of releases."
  }
}

variable "region" {
  description = "Region of the bucket; the cluster's own, or every upload crosses the country and costs."
  type        = string
  default     = "us-west-2"
}

variable "keep_noncurrent_days" {
  description = "Days that an overwritten or deleted object can be brought back."
  type        = number
  default     = 30
}

variable "eks_cluster" {
  description = "EKS cluster whose service account `brainpress` takes the writer's role; null for none."
  type        = string
  default     = null
}

variable "eks_namespace" {
  description = "Namespace of that service account."
  type        = string
  default     = "default"
}

variable "vpc" {
  description = "Network of a `ray up` cluster, such as vpc-0a1b2c3d; null for the account's default one."
  type        = string
  default     = null
}

variable "ssh_from" {
  description = "Networks from which `ray up` may reach its nodes, such as [\"198.51.100.7/32\"]."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for network in var.ssh_from : can(cidrnetmask(network)) && !endswith(network, "/0")])
    error_message = "Expected IPv4 networks such as 198.51.100.7/32, and not the whole world."
  }
}
