"""From text to token ids, and their place on disk."""
