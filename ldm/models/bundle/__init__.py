"""MONAI bundles: the paper's published weights read, and any model written as one."""
