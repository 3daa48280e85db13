"""Measuring speed: the same training task on several sides, in interleaved pairs, and runs per hour of workers."""
