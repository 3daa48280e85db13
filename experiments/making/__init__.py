"""Making runs: one run in one folder, and many runs in parallel worker processes."""
