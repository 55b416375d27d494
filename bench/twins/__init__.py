"""Seven pretrained miniatures, one for each family: how they were built, repeatably."""
