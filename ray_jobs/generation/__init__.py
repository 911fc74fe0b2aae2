"""The main job: prints the volumes of a release on a Ray cluster, shard by shard.

To read in this order: options, job, start, plan, recipe, covariates; driving; worker; finish; and
again, of samples of a finished release.
"""
