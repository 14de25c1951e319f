"""Commands and Python snippets in the documents, where a reader would copy them from."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHELL = {"", "sh", "bash", "shell", "console"}
# An indented block is a shell's if its first line starts so; others are file trees and the like.
TOOLS = "python|make|pip|git|cd|for|ruff|mypy|pytest|nohup|tensorboard|sbatch|srun"
# A line of a notebook's cell that is not Python.
MAGIC = re.compile(r"^( *)[!%]", re.MULTILINE)
SHELL_START = re.compile(rf"(\$ |#|[A-Z_]+=\S+ )*(\.venv/bin/)?({TOOLS})\b")


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block: where it is, its language ("" where none is named), its text."""

    where: str
    language: str
    text: str


def documents():
    """README, CONTRIBUTING, everything in docs/, the notebooks."""
    return [
        *(path for name in ("README.md", "CONTRIBUTING.md") if (path := ROOT / name).exists()),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "colab").glob("*.ipynb")),
    ]


def entry_points():
    """Files that users run as `python -m experiments....`."""
    folders = (ROOT / "experiments", ROOT / "experiments/benchmarks")
    return [path for folder in folders for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


def blocks(path):
    """Fenced and indented code blocks of a document, code cells of a notebook."""
    name = path.relative_to(ROOT)
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(path.read_text())["cells"], start=1):
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                shell = [line.strip()[1:] for line in lines if MAGIC.match(line)]
                python = [MAGIC.sub(r"\1pass  # ", line) for line in lines]
                yield Block(f"{name}, cell {number}", "sh", "\n".join(shell))
                yield Block(f"{name}, cell {number}", "python", "\n".join(python))
        return
    fence = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    text = path.read_text()
    for match in fence.finditer(text):
        yield Block(f"{name}:{text[: match.start()].count(chr(10)) + 1}", match[2], match[3])
    # What a fence held must not be taken for an indented block; the lines' numbers stay.
    text = fence.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in re.finditer(r"(?<=\n\n)((?: {4}.*\n)+)", text):
        code = "\n".join(line[4:] for line in match[0].splitlines())
        if SHELL_START.match(code):
            yield Block(f"{name}:{text[: match.start()].count(chr(10)) + 1}", "sh", code)


def shell_commands(path):
    """(where, words) of each simple command of a document's shell blocks and of the usages in its text."""
    for block in blocks(path):
        if block.language in SHELL:
            yield from ((block.where, words) for words in simple_commands(block.text))
    if path.suffix == ".md":
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for usage in re.findall(r"`(python -m experiments\.[^`]*)`", prose):
            yield str(path.relative_to(ROOT)), usage_words(usage)


def simple_commands(text):
    """Splits shell text into commands; assignments in front of a command and comments are dropped."""
    if re.search(r"^\$ ", text, re.MULTILINE):  # A terminal's transcript: the rest is output.
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    text = re.sub(r"<[\w .-]+>", "PLACEHOLDER", text.replace("\\\n", " "))
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|()<>"):
                if command:
                    yield command
                command = []
            elif command or not re.fullmatch(r"\w+=.*|do|then|nohup|nice", word):
                command.append(word)


def usage_words(usage):
    """A usage line as a command: brackets dropped, the first of alternatives, values for placeholders."""
    words = []
    for word in usage.replace("[", "").replace("]", "").split():
        flag, _, value = word.partition("=")
        if "|" in value:
            word = f"{flag}={value.split('|')[0]}"
        elif value == "N":
            word = f"{flag}=1"
        elif flag == "--config" and not value.startswith("configs/"):
            word = "--config=configs/demo.py"
        if flag != "--config.field":
            words.append(word)
    return words
