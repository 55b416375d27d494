"""A folder of weights for others: merged, converted, described, and held against its record."""
