"""Scores of label volumes with explicit spacing in mm; nothing here knows of models."""
