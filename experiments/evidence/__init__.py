"""From claims and records to effects and verdicts. Free of torch."""
