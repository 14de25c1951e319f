"""One experiment a file; base.py holds every field with its unit and reason."""
