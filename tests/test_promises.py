"""The tests that docs/explanation/reliability.md names exist, and are long where it says so."""

import ast
import re

from tests.documents import ROOT

DOCUMENT = ROOT / "docs/explanation/reliability.md"


def named(text):
    """(file, test, said to be long) of each test; a name without a file is of the file before it."""
    file = ""
    for match in re.finditer(r"`(?:([\w/]+\.py)(?:::)?)?(test_\w+)?`( \*long\*)?", text):
        path, test, long = match.groups()
        if path and path.rpartition("/")[2].startswith("test_"):
            file = path if "/" in path else f"tests/training/{path}"
        if test:
            yield file, test, bool(long)


def marks_in(file):
    """Name of each test in a file, and whether it is marked long."""
    functions = [
        node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    return {
        node.name: any("mark.long" in ast.unparse(decorator) for decorator in node.decorator_list)
        for node in functions
    }


def test_promised_tests_exist():
    found = list(named(DOCUMENT.read_text(encoding="utf-8")))
    assert len(found) > 40
    wrong = []
    for file, test, long in found:
        tests = marks_in(file)
        if test not in tests:
            wrong.append(f"{file} has no {test}")
        elif tests[test] != long:
            wrong.append(f"{file}::{test}: {'not ' if long else ''}marked long")
    assert not wrong, "\n" + "\n".join(wrong)


def test_names_are_read_with_their_file_and_mark():
    text = "| a | `test_b.py::test_c`, `test_d` *long* | `other.py` | `tests/x/test_e.py::test_f` |"
    assert list(named(text)) == [
        ("tests/training/test_b.py", "test_c", False),
        ("tests/training/test_b.py", "test_d", True),
        ("tests/x/test_e.py", "test_f", False),
    ]
