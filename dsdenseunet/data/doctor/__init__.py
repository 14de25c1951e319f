"""Examines data sets and repairs what can be repaired."""
