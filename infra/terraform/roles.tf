# Who may write: the nodes of the press. One role for workers, one for the head, which starts them.

locals {
  # The JSON in ../aws, which the tests put on a real S3 server, with this deployment's names.
  policy = {
    for name in ["public-read", "press-role", "pull-image", "ray-head"] : name => replace(
      file("${path.module}/../aws/${name}-policy.json"), "my-bucket", var.bucket
    )
  }
  # Of each release, by its name.
  printing = { for name in var.releases : name => replace(local.policy["press-role"], "release-1", name) }
  # Statements of one policy have names of their own.
  opening = [
    for number, name in var.public : replace(
      replace(local.policy["public-read"], "release-1", name), "TheRelease", "Release${number}"
    )
  ]
}

data "aws_iam_policy_document" "public_read" {
  source_policy_documents = local.opening
}

resource "aws_iam_role" "press" {
  name               = "brainpress-press"
  assume_role_policy = file("${path.module}/../aws/trust-policy.json")
}

resource "aws_iam_role_policy" "press" {
  for_each = local.printing
  name     = "print-${each.key}"
  role     = aws_iam_role.press.id
  policy   = each.value
}

resource "aws_iam_role_policy" "press_pulls" {
  name   = "pull-the-image"
  role   = aws_iam_role.press.id
  policy = local.policy["pull-image"]
}

resource "aws_iam_instance_profile" "press" {
  name = "brainpress-press"
  role = aws_iam_role.press.name
}

resource "aws_iam_role" "head" {
  name               = "brainpress-head"
  assume_role_policy = file("${path.module}/../aws/trust-policy.json")
}

resource "aws_iam_role_policy" "head_prints" {
  for_each = local.printing
  name     = "print-${each.key}"
  role     = aws_iam_role.head.id
  policy   = each.value
}

resource "aws_iam_role_policy" "head_pulls" {
  name   = "pull-the-image"
  role   = aws_iam_role.head.id
  policy = local.policy["pull-image"]
}

resource "aws_iam_role_policy" "head_scales" {
  name   = "start-and-stop-workers"
  role   = aws_iam_role.head.id
  policy = local.policy["ray-head"]
}

resource "aws_iam_instance_profile" "head" {
  name = "brainpress-head"
  role = aws_iam_role.head.name
}

resource "aws_eks_pod_identity_association" "press" {
  count           = var.eks_cluster == null ? 0 : 1
  cluster_name    = var.eks_cluster
  namespace       = var.eks_namespace
  service_account = "brainpress"
  role_arn        = aws_iam_role.press.arn
}
