"""Export: a trained network in the formats that other libraries read."""
