"""What stands beside the table of a board: added metrics, arms that retrieve, why two tables are two."""
