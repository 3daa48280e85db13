"""What padding does to the answers of trained networks: measured, as tables, a page and a figure."""
