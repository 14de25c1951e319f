"""Loss, optimiser, step, loop and the two-phase cascade."""
