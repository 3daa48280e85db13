"""What a person runs: one verb per file, ``python -m experiments.<verb>``."""
