"""The text of a written config: short Python that says of every value why it is so."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from dsdenseunet.configure.choice import Choice
from dsdenseunet.tasks.task import Task

# Of this project's files.
_WIDTH = 110
_INDENT = "    "


def text(title: str, lines: Sequence[str], name: str, task: Task, choices: Sequence[Choice]) -> str:
    """A file of configs/ as `ruff format` leaves it; equal arguments give equal text.

    Args:
        title: first line of its docstring.
        lines: what follows there.
        name: `config.name`.
        task: what is segmented.
        choices: in order; settings of `task.` are in `task` already, and their sentences stand beside it.
    """
    body = [
        'def get_config() -> ConfigDict:\n    """Takes no argument."""\n    config = base_config()',
        f"    config.name = {_string(name)}",
        "    config.task = ConfigDict(TASK.to_config())",
    ]
    for choice in choices:
        settings = {k: v for k, v in choice.settings.items() if not k.startswith("task.")}
        if settings:
            body.append("\n" + _comment(choice.why, _INDENT))
            body += [_setting(field, value) for field, value in settings.items()]
    function = "\n".join([*body, "    return config"])
    names = [name for name in ("base_config", "in_order", "phase") if f"{name}(" in function]
    parts = {name for name in ("Region",) if task.regions}
    imports = [
        "from __future__ import annotations\n",
        "from ml_collections import ConfigDict\n",
        f"from configs.base import {', '.join(names)}",
        "from dsdenseunet.tasks.channel import Channel",
        f"from dsdenseunet.tasks.task import {', '.join([*sorted(parts), 'Task'])}",
    ]
    documented = [f'"""{_plain(title)}', "", *map(_plain, lines)]
    # Commands stay in one piece, however long a path is.
    end = '"""  # noqa: E501' if max(map(len, documented)) > _WIDTH else '"""'
    docstring = "\n".join([*documented, end])
    return f"{docstring}\n\n" + "\n".join(imports) + f"\n\n{_task(task, choices)}\n\n\n{function}\n"


def _task(task: Task, choices: Sequence[Choice]) -> str:
    """`TASK = Task(...)`, a field a line, with the sentences of those that were chosen."""
    why = {
        field.removeprefix("task."): choice.why
        for choice in choices
        for field in choice.settings
        if field.startswith("task.")
    }
    lines = ["TASK = Task("]
    for field, value in vars(task).items():
        if field in why:
            lines.append(_comment(why[field], _INDENT))
        lines.append(_assignment(f"{field}=", value, _INDENT) + ",")
    return "\n".join([*lines, ")"])


def _setting(field: str, value: Any) -> str:
    place = f"config.{field} = "
    if field == "phases":
        phases = ", ".join(f"{name}=phase({epochs})" for name, epochs in value.items())
        return f"{_INDENT}{place}in_order({phases})"
    if field == "model":
        return "\n".join(
            [
                f"{_INDENT}{place}ConfigDict(",
                f"{_INDENT * 2}{{",
                *(_assignment(f"{_string(key)}: ", one, _INDENT * 3) + "," for key, one in value.items()),
                f"{_INDENT * 2}}}",
                f"{_INDENT})",
            ]
        )
    return _assignment(place, value, _INDENT)


def _assignment(place: str, value: Any, indent: str) -> str:
    """`place` and a literal, on one line if it fits, otherwise each item on a line of its own."""
    line = f"{indent}{place}{_literal(value)}"
    # A comma may follow.
    if len(line) < _WIDTH or not isinstance(value, tuple | list | Mapping):
        return line
    opened, closed = ("{", "}") if isinstance(value, Mapping) else ("(", ")")
    items = value.items() if isinstance(value, Mapping) else [("", item) for item in value]
    inner = [
        _assignment(f"{_string(key)}: " if key else "", item, indent + _INDENT) + "," for key, item in items
    ]
    return "\n".join([f"{indent}{place}{opened}", *inner, f"{indent}{closed}"])


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_string(key)}: {_literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float):
        return repr(value).replace("e-0", "e-")
    kind = type(value).__name__
    if kind == "Region":
        return f"Region({_string(value.name)}, {_literal(value.labels)})"
    if kind == "Channel":
        numbers = [_literal(value.numbers)] if value.numbers else []
        return f"Channel({', '.join([_string(value.name), _string(value.normalisation), *numbers])})"
    return repr(value)


def _string(value: str) -> str:
    """In the quotes of which fewer have to be escaped, double ones of equals; ASCII alone."""
    text = json.dumps(value)
    if value.count('"') <= value.count("'"):
        return text
    return "'" + text[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def _comment(sentences: str, indent: str) -> str:
    wrapped = textwrap.wrap(_plain(sentences), _WIDTH - len(indent) - 2, break_on_hyphens=False)
    return "\n".join(f"{indent}# {line}" for line in wrapped)


def _plain(sentences: str) -> str:
    """For comments and docstrings, whatever is in the names of files and classes."""
    escaped = sentences.encode("ascii", "backslashreplace").decode()
    return escaped.replace("\\", "/").replace('"""', "'''")
