"""Ways out of the house: a trained network as the libraries of others read it."""
