"""The project's own measurements, never installed: entry points here, their parts in the folders."""
