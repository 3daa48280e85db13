"""Intervals, tests, multiplicity and power, over seeds and over rows. Free of torch."""
