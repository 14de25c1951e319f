"""One experiment per file; base.py holds every field with its unit and reason."""
