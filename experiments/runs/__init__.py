"""What a run leaves behind: the record ``run.json``, and the store that finds, merges and checks records."""
