"""The network that a variant describes; pure PyTorch."""
