"""A trained network as a folder that runs without this project, and the loader that goes with it."""
