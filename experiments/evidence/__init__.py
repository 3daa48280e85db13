"""From claims and records to verdicts and their report. Free of torch."""
