"""Many runs of one architecture trained as one batched model, each member equal to its solo run."""
