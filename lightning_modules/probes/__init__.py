"""Probes: what happens inside a network, as numbers by depth. Pure PyTorch, no Lightning here."""
