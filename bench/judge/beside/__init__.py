"""What stands beside the table of a board: metrics that were added, arms that retrieve, and why two tables are two."""
