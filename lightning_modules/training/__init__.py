"""Optimisers, schedules, losses, metrics and callbacks."""
