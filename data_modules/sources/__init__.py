"""Where text comes from (embedded corpora, files, local folders, the Hub) and how it becomes a clean, split corpus."""
