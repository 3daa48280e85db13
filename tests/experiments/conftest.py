"""Settings of the tests of experiments."""

from experiments.running.engines.ray_connection import send_no_statistics

send_no_statistics()  # before a test module imports Ray
