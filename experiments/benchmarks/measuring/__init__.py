"""How things are measured: one process per side, sides that take turns, and what is timed of each."""
