"""Where the runs of a grid are made: in processes of this machine, or on the nodes of a Ray cluster."""
