"""Settings of all tests."""

from hypothesis import settings

# Machines are noisy: how long an example takes is the benchmark's business, not a test's.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
