"""Network families as Flax Linen modules; a variant is a config value, never a subclass."""
