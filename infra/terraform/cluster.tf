# What a cluster of `ray up` stands in: a registry for its image, and a network that only its owner enters.

resource "aws_ecr_repository" "image" {
  name                 = "brainpress"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

data "aws_caller_identity" "current" {}

data "aws_vpc" "cluster" {
  id      = var.vpc
  default = var.vpc == null ? true : null
}

data "aws_subnets" "cluster" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.cluster.id]
  }
}

resource "aws_security_group" "cluster" {
  name        = "brainpress"
  description = "Nodes of the press: all among themselves, SSH from their owner."
  vpc_id      = data.aws_vpc.cluster.id
}

resource "aws_vpc_security_group_ingress_rule" "among_themselves" {
  security_group_id            = aws_security_group.cluster.id
  referenced_security_group_id = aws_security_group.cluster.id
  ip_protocol                  = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each          = toset(var.ssh_from)
  security_group_id = aws_security_group.cluster.id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.cluster.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

locals {
  # ../ray-up-aws.yaml with this deployment's names.
  ray_up = replace(replace(replace(replace(file("${path.module}/../ray-up-aws.yaml"),
    "123456789012", data.aws_caller_identity.current.account_id),
    "us-west-2", var.region),
    "sg-00000000000000000", aws_security_group.cluster.id),
  "subnet-00000000000000000", join(", ", data.aws_subnets.cluster.ids))
}
