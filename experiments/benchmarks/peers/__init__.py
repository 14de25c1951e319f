"""Other programs of the field on the same cases, in the same time, on the same machine."""
