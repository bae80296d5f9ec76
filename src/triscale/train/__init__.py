"""Training: recipes, optimizers, schedules and the loop that survives anything."""
