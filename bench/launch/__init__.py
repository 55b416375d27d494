"""Runs get processes: started, watched, timed out, and their results published."""
