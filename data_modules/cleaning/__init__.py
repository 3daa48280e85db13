"""What is taken away from a text before it is split: dirt, duplicates, near copies."""
