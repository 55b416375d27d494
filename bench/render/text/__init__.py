"""What the terminal and markdown show, one result a module."""
