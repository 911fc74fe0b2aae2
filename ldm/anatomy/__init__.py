"""Brains as anatomy: registration to MNI152, skull-stripping, bent copies, a virtual cohort."""
