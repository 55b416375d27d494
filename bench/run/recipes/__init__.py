"""What a recipe may become: another method of tuning, and the best of equal trials."""
