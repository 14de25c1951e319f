"""Scores of label volumes with explicit spacing in mm; no model is ever seen here."""
