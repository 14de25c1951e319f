"""The loader's text: what may be in it, and what may not."""

import ast
import importlib.util
import sys

import pytest

from dsdenseunet.export import single_file


def test_it_is_python_that_imports_numpy_and_jax_alone():
    tree = ast.parse(single_file.source("version 1"))
    assert "version 1" in ast.get_docstring(tree)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert packages == {"jax", "numpy"}


@pytest.mark.parametrize(
    ("first", "second", "part"),
    [
        ("x = 1", "x = 2", "defined by two modules of the loader: x"),
        ("def f(): pass", "class f: pass", "defined by two modules of the loader: f"),
        ("x: int = 1", "from dsdenseunet.core.words import some", "imports from dsdenseunet.core.words"),
    ],
)
def test_modules_that_cannot_stand_in_one_file_are_refused(tmp_path, monkeypatch, first, second, part):
    modules = []
    for name, line in (("one", first), ("two", second)):
        path = tmp_path / f"{name}.py"
        path.write_text(f'"""A part."""\n\n{line}\n')
        spec = importlib.util.spec_from_file_location(name, path)
        modules.append(importlib.util.module_from_spec(spec))
    monkeypatch.setattr(single_file, "MODULES", modules)
    with pytest.raises(ValueError, match=part):
        single_file.source("version 1")
