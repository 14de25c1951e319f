"""How anything is measured: a process a side, sides that take turns, and what is timed of each side."""
