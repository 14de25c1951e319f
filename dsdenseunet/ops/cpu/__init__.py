"""Fast forms of convolutions on CPUs, equal to the plain ones."""
