"""Devices, processes and the terminal."""
