"""What more effort buys: more training along a ladder of budgets, and more trials of a recipe."""
