"""Runs on many machines: joining a cluster, placing runs, a node's own side, and what travels."""
