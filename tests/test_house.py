"""House rules that no linter knows: sizes and names of files, and that versions fit together."""

import ast
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import documents

ROOT = documents.ROOT
FOLDERS = ("dsdenseunet", "experiments", "configs", "tests")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
ENTRY_POINTS = documents.entry_points()
# About 300, as a page or two on a subject can end a little later.
LONGEST_FILE = 330
LONGEST_ENTRY_POINT = 80
# Requirements with a ceiling, of which setup.py says why. They are in no constraints: those hold for all
# extras.
CAPPED = {"nvidia-cudnn-cu12<9.11,>=9.10.2"}


# Programs that run in an environment of their own, beside ours; their docstrings say what it holds.
PEERS = {f"experiments/benchmarks/peers/{name}.py" for name in ("monai_unet", "nnunet", "nnunet_plans")}


def name_of(path):
    return str(path.relative_to(ROOT))


def requirements():
    """(extra, requirement) of every line of setup.py; extra is "" for what is always installed."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    values = {word.arg: word.value for word in call.keywords}
    groups = {"": ast.literal_eval(values["install_requires"])}
    groups |= ast.literal_eval(values["extras_require"])
    return [(extra, Requirement(line)) for extra, lines in groups.items() for line in lines]


@pytest.mark.parametrize("path", ENTRY_POINTS, ids=name_of)
def test_entry_points_are_flags_and_one_call(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_ENTRY_POINT, (
        "move what it does into dsdenseunet/ or, of a benchmark, a folder"
    )
    assert text.endswith('\n\nif __name__ == "__main__":\n    cli.run(main)\n')
    usage = f"python -m {'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
    assert usage in ast.get_docstring(ast.parse(text)), f"the docstring shows no `{usage}`"


def test_files_have_one_subject():
    long = {name_of(path): n for path in SOURCES if (n := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert not long, f"more than about 300 lines: {long}"
    vague = [name_of(path) for path in SOURCES if re.search(r"util|helper|common|misc", path.stem)]
    assert not vague, f"a name that says nothing: {vague}"


def test_every_package_has_a_docstring():
    silent = [name_of(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not [path for path in silent if not path.startswith("tests/")]


def test_versions_tested_satisfy_the_floors():
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, version = line.split("==")
        pinned[canonicalize_name(name)] = version
    for extra, requirement in requirements():
        name = canonicalize_name(requirement.name)
        where = f"setup.py, {extra or 'install_requires'}: {requirement}"
        if str(requirement) in CAPPED:
            continue
        assert [clause.operator for clause in requirement.specifier] == [">="], (
            f"{where}: a floor, nothing else"
        )
        assert name in pinned, f"{where}: constraints.txt has no {name}"
        assert pinned[name] in requirement.specifier, f"{where}: constraints.txt has {pinned[name]}"


def imported_packages():
    """Package by module of this project that imports it; other names than the package's are listed."""
    names = {
        "absl": "absl-py",
        "cc3d": "connected-components-3d",
        "orbax": "orbax-checkpoint",
        "PIL": "pillow",
    }
    for path in SOURCES:
        if name_of(path).startswith("tests/") or name_of(path) in PEERS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for top in {module.split(".")[0] for module in modules}:
                if top not in FOLDERS and top not in sys.stdlib_module_names:
                    yield name_of(path), canonicalize_name(names.get(top, top))


def test_imports_and_requirements_are_the_same_packages():
    declared = {canonicalize_name(requirement.name) for _, requirement in requirements()}
    always = {canonicalize_name(requirement.name) for extra, requirement in requirements() if not extra}
    imported = set(imported_packages())
    undeclared = {(path, package) for path, package in imported if package not in declared}
    assert not undeclared, f"setup.py does not ask for {undeclared}"
    unused = always - {package for _, package in imported}
    assert not unused, f"setup.py asks for {unused}, which nothing imports"


@pytest.mark.parametrize("extra", sorted({extra for extra, _ in requirements() if extra}))
def test_every_extra_is_documented(extra):
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    assert any(re.search(rf"\[[\w,]*\b{extra}\b[\w,]*\]", path.read_text()) for path in documents)
