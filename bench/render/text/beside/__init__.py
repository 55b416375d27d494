"""Tables that stand beside the board's own, as text."""
