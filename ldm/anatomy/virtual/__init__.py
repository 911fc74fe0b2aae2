"""Virtual people, made from open anatomy: their bodies, the scanner, whole cohorts of them."""
