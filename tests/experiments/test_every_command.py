"""What holds for every command, found by listing them: a new one is tried without being named here."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import documents
from tests.begin_commands import begin
from tests.test_documented_commands import EXPERIMENTS, environment, experiment_of

ROOT = documents.ROOT
# Each command as the reference shows it first.
EXAMPLES = {
    command[0]: command
    for _, words in reversed([*documents.shell_commands(ROOT / "docs/reference/commands.md")])
    if (command := experiment_of(words))
}
TAKE_CONFIG = [
    name
    for name, path in EXPERIMENTS.items()
    if re.search(r'DEFINE_config_file\(\s*"config"', path.read_text())
]
OUTPUT = re.compile(r'cli\.output_(file|folder)\(\s*"(\w+)"')


def outputs():
    for name, path in EXPERIMENTS.items():
        for kind, flag in OUTPUT.findall(path.read_text()):
            yield name, kind, flag


def occupied(folder):
    """Names that no folder and no file can have, and what is said of them."""
    (folder / "file").write_text("kept")
    (folder / "lost").symlink_to("nowhere")
    (folder / "sealed").mkdir(mode=0o500)
    names = {
        f"{folder}/file/below": "not a folder",
        f"{folder}/file/far/below": "not a folder",
        f"{folder}/lost/below": "leads nowhere",
        f"{folder}/{'long' * 100}": "too long",
        f"{folder}/new/{'long' * 100}/below": "too long",
        "": "an empty name",
        "~/results": "$HOME",
        "/proc/results": "results",
    }
    if os.geteuid():
        names[f"{folder}/sealed/below"] = "not permitted"
    return names


def test_every_command_has_an_example():
    assert set(EXAMPLES) == set(EXPERIMENTS)


def test_whatever_a_command_writes_is_declared_as_an_output():
    for path in EXPERIMENTS.values():
        for flag, text in re.findall(r'flags\.DEFINE_string\(\s*"(\w+)",\s*[^"]*"(.*?)"', path.read_text()):
            assert not re.search(r"\b(write|for everything|keep|leave)\b", text), f"{path}: --{flag}: {text}"


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    names = occupied(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    tried = []
    for command, kind, flag in outputs():
        of_kind = {str(tmp_path / "file"): "not a folder"} if kind == "folder" else {}
        of_kind |= {str(tmp_path): "a folder", "/dev/null": "a device"} if kind == "file" else {}
        for name, part in {**names, **of_kind}.items():
            tried.append(([*EXAMPLES[command], f"--{flag}={name}"], flag, part))
    for (command, flag, part), (status, shown) in zip(tried, begin([command for command, _, _ in tried])):
        message = shown[shown.index("error:") :] if "error:" in shown else shown
        assert status == 2, (command, shown)
        assert message.startswith(f"error: --{flag}="), (command, shown)
        assert part in message, (command, shown)
        assert message.count("\n") == 4, (command, shown)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "kept"


def test_outputs_that_can_be_written_leave_nothing_behind(tmp_path):
    commands = [
        [*EXAMPLES[command], f"--{flag}={tmp_path}/new/{'ü' * 100}"] for command, _, flag in outputs()
    ]
    assert {status for status, _ in begin(commands)} == {0}
    assert list(tmp_path.iterdir()) == []


def test_words_that_belong_to_no_flag_are_named():
    tried = [
        (name, words) for name in EXAMPLES for words in (["stray"], ["--", "stray"], ["\u2014out=stray"])
    ]
    answers = begin([[*EXAMPLES[name], *words] for name, words in tried])
    for (name, words), (status, shown) in zip(tried, answers, strict=True):
        assert status == 2, name
        assert f"found:    words that belong to no flag: {words[-1]}" in shown
        assert ("--config.FIELD" in shown) == (name in TAKE_CONFIG), name


def test_words_behind_a_stray_one_still_count():
    ((status, shown),) = begin([["prepare", "--data", "a", "b", "--cache=c", "--workers=-1"]])
    assert status == 2
    assert "--workers" in shown


def test_what_may_have_been_meant_is_said():
    hints = {
        ("--verify", "False"): "perhaps --verify=False",
        ("cache=d",): "perhaps --cache=d",
        ("\u2013cache=d",): "perhaps --cache=d",
        ("--data", "=", "d"): "no spaces around =",
        ("README.md",): "name their folder instead",
        (" ",): "at the end of a line",
    }
    answers = begin([["prepare", "--data=a", "--cache=c", *words] for words in hints])
    for hint, (status, shown) in zip(hints.values(), answers, strict=True):
        assert status == 2
        assert hint in shown


def test_help_is_no_failure():
    asked = [[name, word] for name in EXPERIMENTS for word in ("-h", "-help", "--help", "--helpfull")]
    for command, (status, shown) in zip(asked, begin(asked), strict=True):
        assert status == 0, command
        assert "--" in shown
        if command[1] == "--help":
            source = EXPERIMENTS[command[0]].read_text()
            listed = re.findall(r"mark_flags_as_required\(\[(.*?)\]", source)
            required = source.count("required=True") + sum(names.count(",") + 1 for names in listed)
            assert shown.count("(required)") == required, command


def test_numbers_are_numbers():
    number = re.compile(r'flags\.DEFINE_(integer|float)\(\s*"(\w+)"')
    bad = [
        ([*EXAMPLES[name], f"--{flag}={value}"], flag)
        for name, path in EXPERIMENTS.items()
        for kind, flag in number.findall(path.read_text())
        for value in ("many", "", *(("nan", "inf") if kind == "float" else ("1.5",)))
    ]
    for (command, flag), (status, shown) in zip(bad, begin([command for command, _ in bad]), strict=True):
        assert status == 2, command
        assert f"--{flag}=" in shown


def test_a_flag_that_is_given_twice_is_told_of():
    same, other, config = begin(
        [
            ["prepare", "--data=a", "--cache=c", "--data=a"],
            ["prepare", "--data=a", "--cache=c", "--data", "b"],
            ["describe", "--config=configs/demo.py", "--config.seed=1", "--config.seed=2"],
        ]
    )
    assert same == (0, "")
    assert other == (0, "note: --data is given 2 times; the last one counts: --data b\n")
    assert config == (0, "note: --config.seed is given 2 times; the last one counts: --config.seed=2\n")


def with_config(name, path):
    command, *others = (word for word in EXAMPLES[name] if not word.startswith("--config="))
    return [command, f"--config={path}", *others]


def test_a_config_file_that_cannot_be_used_is_named(tmp_path):
    bad = {
        "absent": (None, "no such file"),
        "syntax": ("def get_config(:\n", "line 1"),
        "name": ("x = 1\ny = z\n", "line 2: NameError"),
        "value": ("def get_config():\n    raise ValueError('no good')\n", "no good"),
        "type": ("def get_config():\n    return 1 + 'a'\n", "TypeError"),
        "module": ("import absent_module\n", "absent_module"),
        "function": ("x = 1\n", "get_config"),
        "bytes": (b"\xff\xfe", "bytes"),
        "dict": ("def get_config():\n    return {'seed': 1}\n", ""),
    }
    tried = []
    for name, (text, part) in bad.items():
        path = tmp_path / f"{name}.py"
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        tried += [(with_config(user, path), part) for user in TAKE_CONFIG]
        tried += [([*with_config(user, path), "--config.seed=1"], part) for user in TAKE_CONFIG]
    tried += [(with_config(user, tmp_path), "a folder") for user in TAKE_CONFIG]
    tried += [
        ([*with_config(user, "configs/demo.py"), "--config", "other"], "more than one")
        for user in TAKE_CONFIG
    ]
    for (command, part), (status, shown) in zip(tried, begin([command for command, _ in tried])):
        assert status == 2, (command, shown)
        assert part in shown, (command, shown)
        assert "Traceback" not in shown, (command, shown)


# A command that is quick and prints, and one with workers.
DESCRIBE = ["describe", "--config=configs/demo.py"]


def start(words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{words[0]}", *words[1:]],
        **{"cwd": ROOT, "env": environment(), "stderr": subprocess.PIPE, **options},
    )


def test_a_pipe_that_nobody_reads_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    process = start(DESCRIBE, stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=120)[1] == b""
    assert process.returncode == 0


def test_a_full_disk_behind_the_output_is_one_message():
    with Path("/dev/full").open("wb") as full:
        process = start(DESCRIBE, stdout=full)
        errors = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 2
    assert errors.startswith("error: standard output\n  found:    no space is left")


def test_a_terminal_that_knows_few_characters():
    variables = {**environment(), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    process = start(
        ["describe", "--config=configs/demo.py", "--config.name=Müller"],
        env=variables,
        stdout=subprocess.PIPE,
    )
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, b"")
    assert output.startswith(b"M\\xfcller")


def test_a_device_that_jax_does_not_know_is_one_message():
    variables = {**environment(), "JAX_PLATFORMS": "absent"}
    process = start(["preflight", "--config=configs/demo.py"], env=variables)
    errors = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 2
    assert errors.startswith("error: JAX_PLATFORMS=absent\n")
    assert errors.count("\n") == 4
