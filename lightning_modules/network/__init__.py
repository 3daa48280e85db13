"""The network in pure PyTorch: streams, norms, sublayers and what surrounds them; no Lightning here."""
