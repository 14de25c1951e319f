"""Which arrays of a training step are in memory when, and what they are, from the compiled program."""
