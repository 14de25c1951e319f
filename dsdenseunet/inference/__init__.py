"""Whole volumes in, label volumes out."""
