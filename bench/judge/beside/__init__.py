"""What stands beside the table of a board: metrics that were added, and arms that retrieve."""
