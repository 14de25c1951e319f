import json
import os
import signal
import subprocess
import sys

import pytest

from dsdenseunet.core.errors import InputError
from dsdenseunet.runtime.stages import Chain, StageFailedError
from tests.documents import ROOT


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one command: copies a file in capitals, fails on an empty one."""
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "shout.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "text = Path(sys.argv[1]).read_text()\n"
        "Path(sys.argv[2]).write_text(text.upper())\n"
        "sys.exit(0 if text else 3)\n"
    )
    (tmp_path / "in").write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shout(folder, *extra):
    chain = Chain(folder, "commands")
    chain.run("shout", ["shout", "in", "out", *extra], [folder / "in"], [folder / "out"])
    return chain.stages[-1]


def test_a_stage_runs_once_and_is_then_reused(package, capsys):
    first, again = shout(package), shout(package)
    assert (package / "out").read_text() == "HELLO"
    assert (first.reused, again.reused) == (False, True)
    assert again.seconds == first.seconds > 0
    assert first.command == "python -m commands.shout in out"
    assert "shout: done before, reused" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["input", "output", "output gone", "command"])
def test_whatever_changes_makes_it_run_again(package, change):
    shout(package)
    extra = ()
    if change == "input":
        (package / "in").write_text("other")
    elif change == "output":
        (package / "out").write_text("tampered")
    elif change == "output gone":
        (package / "out").unlink()
    else:
        extra = ("--loud",)
    assert not shout(package, *extra).reused
    assert (package / "out").read_text() == (package / "in").read_text().upper()


def test_a_stage_may_have_variables_and_a_folder_that_goes_first(package, monkeypatch):
    (package / "commands" / "look.py").write_text(
        "import os, pathlib\n"
        "pathlib.Path('run').mkdir()\n"
        "pathlib.Path('run/out').write_text(os.environ['WORD'] + os.environ['KEPT'])\n"
    )
    (package / "run").mkdir()
    (package / "run" / "left over").touch()

    def run(word):
        chain, folder = Chain(package, "commands"), package / "run"
        chain.run("look", ["look"], [], [folder / "out"], environment={"WORD": word}, anew=folder)
        return chain.stages[-1]

    monkeypatch.setenv("KEPT", "!")
    stage = run("said")
    assert stage.command == "WORD=said python -m commands.look"
    assert [path.name for path in (package / "run").iterdir()] == ["out"]
    assert (package / "run" / "out").read_text() == "said!"
    assert run("said").reused
    assert not run("other").reused


def test_a_failed_stage_is_not_recorded(package):
    (package / "in").write_text("")
    for _ in range(2):
        with pytest.raises(StageFailedError, match="'shout' ended with status 3"):
            shout(package)
    assert not (package / "stages.json").exists()


def test_folders_count_by_the_content_of_their_files(package):
    (package / "folder").mkdir()
    (package / "folder" / "a").write_text("1")

    def run():
        chain = Chain(package, "commands")
        chain.run("shout", ["shout", "in", "out"], [package / "folder"], [package / "out"])
        return chain.stages[-1].reused

    assert not run()
    assert run()
    (package / "folder" / "b").write_text("2")
    assert not run()
    assert json.loads((package / "stages.json").read_text()).keys() == {"shout"}


def test_ctrl_c_lets_the_stage_end_in_its_own_way(package):
    (package / "commands" / "slow.py").write_text(
        "import signal, sys, time\n"
        "def save(*_):\n    time.sleep(0.6)\n    print('saved', flush=True)\n    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, save)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    script = (
        "from pathlib import Path\nfrom dsdenseunet.runtime.stages import Chain, StageFailedError\n"
        "try:\n    Chain('.', 'commands').run('slow', ['slow'], [], [])\n"
        "except StageFailedError as error:\n    print(error.status, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        **{"cwd": package, "stdout": subprocess.PIPE, "text": True, "start_new_session": True},
        env={**os.environ, "PYTHONPATH": f"{package}:{ROOT}"},
    )
    while process.stdout.readline() != "ready\n":
        pass
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
    assert process.communicate(timeout=60)[0] == "saved\n130\n"


def test_a_stage_that_a_signal_ends_has_a_shells_status(package):
    (package / "commands" / "killed.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with pytest.raises(StageFailedError, match="status 137"):
        Chain(package, "commands").run("killed", ["killed"], [], [])


@pytest.mark.parametrize("record", [{}, {"shout": None}, {"shout": []}, {"shout": {"key": 1}}])
def test_a_damaged_record_of_a_stage_means_that_it_runs_again(package, record):
    shout(package)
    (package / "stages.json").write_text(json.dumps(record))
    assert not shout(package).reused


def test_a_file_of_stages_of_another_form_is_refused(package):
    (package / "stages.json").write_text("[]")
    with pytest.raises(InputError, match="remove the file"):
        shout(package)
