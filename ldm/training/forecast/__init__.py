"""What a training will take, calculated before it begins: memory and operations."""
