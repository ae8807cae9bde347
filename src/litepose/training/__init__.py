"""From annotated pictures to weights: recipe (the numbers), data, optim, loop, validate, log."""
