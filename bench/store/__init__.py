"""Records on disk: their form, the folder that holds them, and the names that stand for sets of them."""
