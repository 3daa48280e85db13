"""Residual and normalisation schemes; no Lightning here."""
