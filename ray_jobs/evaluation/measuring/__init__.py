"""What is measured of volumes and of pairs, block by block on actors, and kept in parts."""
