"""What tests of training share: a prepared cache of three phantoms, and `TinyNet`."""

from tests.training.conftest import cache, compiled_programs, config, tiny_network

__all__ = ["cache", "compiled_programs", "config", "tiny_network"]
