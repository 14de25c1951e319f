"""The loader as one file: the modules of this package that it is made of, one after the other.

So there is no second implementation of tiling, weights and normalisation that could drift away from the one
that `predict` uses.
"""

from __future__ import annotations

import ast
import inspect
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import ModuleType

from dsdenseunet.core import safetensors
from dsdenseunet.data import intensity, resampling
from dsdenseunet.export import segmenter
from dsdenseunet.inference import labelling, mirroring, own_grid, sliding_window, turning, whole_volume
from dsdenseunet.tasks import channel

# Each may import from those before it, and NumPy, JAX and the standard library.
MODULES: Sequence[ModuleType] = (
    *(safetensors, channel, intensity, resampling, sliding_window),
    *(own_grid, mirroring, turning, whole_volume, labelling, segmenter),
)
_OWN = "dsdenseunet."
_START = """
if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
"""


def source(origin: str) -> str:
    """The text of `load.py`.

    Args:
        origin: version and commit of this package.

    Raises:
        ValueError: the modules cannot stand in one file: an import from elsewhere in this package, or a name
            that two of them define.
    """
    names = [module.__name__ for module in MODULES]
    parts, defined, whole, taken = [], Counter[str](), set[str](), defaultdict[str, set[str]](set)
    for module in MODULES:
        text = inspect.getsource(module)
        tree = ast.parse(text)
        head = 1  # The docstring.
        for node in tree.body[1:]:
            if isinstance(node, ast.Import):
                whole.add(ast.unparse(node))
            elif not isinstance(node, ast.ImportFrom):
                break
            elif (node.module or "").startswith(_OWN):
                if node.module not in names or any(alias.asname for alias in node.names):
                    raise ValueError(f"{module.__name__} imports from {node.module}: not in the loader")
            elif node.module != "__future__":
                taken[node.module or ""] |= {alias.name for alias in node.names}
            head += 1
        defined.update(_names(tree.body[head:]))
        body = text.splitlines()[tree.body[head - 1].end_lineno :]
        parts.append("\n".join([f"# From {module.__name__}.", "", *body]).replace("\n\n\n\n", "\n\n").strip())
    if twice := [name for name, count in defined.items() if count > 1]:
        raise ValueError(f"defined by two modules of the loader: {', '.join(twice)}")
    listed = "\n".join(f"    {name}" for name in names)
    imports = [
        *sorted(whole),
        *(f"from {name} import {', '.join(sorted(taken[name]))}" for name in sorted(taken)),
    ]
    about = f"Licence of this file: Apache 2.0. It is made of these modules of {origin}:\n\n{listed}"
    return "\n\n".join(
        [
            f'"""{inspect.getdoc(segmenter)}\n\n{about}\n"""',
            "from __future__ import annotations",
            "\n".join(imports),
            "\n\n\n".join(parts),
            _START,
        ]
    )


def _names(body: Sequence[ast.stmt]) -> list[str]:
    """What the statements of a module define."""
    names = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            targets = [name for target in node.targets for name in ast.walk(target)]
            names += [name.id for name in targets if isinstance(name, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names
