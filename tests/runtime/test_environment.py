"""The state of the code as one value."""

import importlib
import importlib.metadata
import sys

import numpy as np
import pytest

from dsdenseunet.runtime import environment


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of a name in a place; the place is first on the path."""

    def make(place, **files):
        folder = tmp_path / place / "somecode"
        (folder / "inner").mkdir(parents=True)
        for name in ("__init__.py", "inner/__init__.py", "inner/table.json", "rules.py"):
            (folder / name).write_text(files.get(name, f"# {name}"))
        return folder

    def fingerprint(folder, *modules):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder.parent))
            for name in [name for name in sys.modules if name.split(".")[0] == "somecode"]:
                patch.delitem(sys.modules, name)
            importlib.invalidate_caches()
            environment.code_fingerprint.cache_clear()
            return environment.code_fingerprint(*(modules or ("somecode",)))

    return make, fingerprint


def test_equal_code_gives_an_equal_fingerprint_wherever_it_lies(package):
    make, fingerprint = package
    first, second = make("a"), make("b")
    (second / "__pycache__").mkdir()
    (second / "__pycache__" / "rules.pyc").write_bytes(b"compiled")
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(first, "somecode.rules") == fingerprint(second, "somecode.rules")


@pytest.mark.parametrize("name", ["__init__.py", "inner/__init__.py", "inner/table.json", "rules.py"])
def test_any_changed_file_of_a_package_changes_it(package, name):
    make, fingerprint = package
    assert fingerprint(make("a")) != fingerprint(make("b", **{name: "# other"}))


def test_a_module_is_its_own_file_only(package):
    make, fingerprint = package
    first, second = make("a"), make("b", **{"inner/table.json": "[]"})
    assert fingerprint(first, "somecode.rules") == fingerprint(second, "somecode.rules")
    assert fingerprint(first, "somecode.inner") != fingerprint(second, "somecode.inner")


def test_the_version_counts_and_an_unknown_module_is_an_error(monkeypatch):
    before = environment.code_fingerprint("dsdenseunet.core.words")
    environment.code_fingerprint.cache_clear()
    monkeypatch.setattr(environment, "__version__", "0.0.0")
    assert environment.code_fingerprint("dsdenseunet.core.words") != before
    environment.code_fingerprint.cache_clear()
    with pytest.raises(ModuleNotFoundError):
        environment.code_fingerprint("dsdenseunet.no_such_module")


def test_a_machine_whose_python_lacks_packages_is_described(monkeypatch):
    """As where a GPU machine's own Python runs a clone."""

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    versions = environment.describe(["numpy", "no-such-library"])["versions"]
    assert versions["dsdenseunet"] == environment.__version__
    assert versions["numpy"] == np.__version__
    assert versions["no-such-library"] is None
