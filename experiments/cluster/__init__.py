"""Runs of a grid on a Ray cluster: an add-on."""
