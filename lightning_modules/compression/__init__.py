"""Trained networks made smaller: pruned of weights, heads, hidden units or whole blocks, and quantised."""
