"""Pictures of a volume with NumPy and zlib alone: its three planes, and PNG files."""
