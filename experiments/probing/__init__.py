"""Looking inside networks: snapshots of their probes, as tables, CSV and a figure."""
