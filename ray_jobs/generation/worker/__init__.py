"""The worker's side: the model drawn from, volumes checked and stored, and a shard committed."""
