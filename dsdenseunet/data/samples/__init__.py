"""One real CT and phantoms."""
