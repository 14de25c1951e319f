"""The comparison with PyTorch needs the extra bench; `make bench` installs it and runs the comparison."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["test_torch_peer.py"]
