"""The REST service of trained runs (``python -m experiments.serve``). Nothing else imports it."""
