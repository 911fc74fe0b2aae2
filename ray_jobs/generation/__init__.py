"""The main job: prints the volumes of a release on a Ray cluster, shard by shard."""
