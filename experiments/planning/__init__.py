"""From a grid file to the list of runs: configurations, conditions, seeds and tuning trials. Free of torch."""
