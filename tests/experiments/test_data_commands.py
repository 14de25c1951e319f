"""The commands that make and prepare data, as a user runs them."""

import random
import subprocess
import sys
import time

import pytest


def run(module, *arguments):
    command = [sys.executable, "-m", f"experiments.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_phantoms_are_made_prepared_and_found_current(tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    made = run("make_phantoms", f"--out={data}", "--cases=3", "--seed=5", "--size=40,48,48", "--compressed")
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in data.iterdir()) == sorted(
        f"{kind}-{number}.nii.gz" for kind in ("volume", "segmentation") for number in range(3)
    )
    first = run("prepare", f"--data={data}", f"--cache={cache}", "--workers=2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "3 new"

    (data / "segmentation-1.nii.gz").write_bytes(b"not a NIfTI")
    (data / "segmentation-2.nii.gz").unlink()
    again = run("prepare", f"--data={data}", f"--cache={cache}", "--workers=0")
    assert again.returncode == 2
    assert "1 current, 2 failed" in again.stdout
    assert f"volume-1: {data / 'segmentation-1.nii.gz'}" in again.stdout
    assert "volume-2" in again.stdout
    assert "without labels" in again.stdout


def test_bad_arguments_give_one_message(tmp_path):
    for result in (
        run("prepare", f"--data={tmp_path / 'absent'}", f"--cache={tmp_path / 'cache'}"),
        run("make_phantoms", f"--out={tmp_path}", "--size=10,20"),
        run("make_phantoms", f"--out={tmp_path}", "--kind=lung", "--size=10,20,30"),
    ):
        assert result.returncode == 2
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_prepare_killed_at_any_moment_ends_with_the_same_cache(tmp_path):
    data, whole, killed = (tmp_path / name for name in ("data", "whole", "killed"))
    assert run("make_phantoms", f"--out={data}", "--cases=8", "--size=96,96,96").returncode == 0
    started = time.monotonic()
    assert run("prepare", f"--data={data}", f"--cache={whole}").returncode == 0
    seconds = time.monotonic() - started
    moments = random.Random(0)
    command = [
        sys.executable,
        "-m",
        "experiments.prepare",
        f"--data={data}",
        f"--cache={killed}",
        "--workers=0",
    ]
    for _ in range(20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.wait()
    last = run("prepare", f"--data={data}", f"--cache={killed}", "--verify")
    assert last.returncode == 0, last.stdout + last.stderr
    assert (killed / "manifest.json").read_text() == (whole / "manifest.json").read_text()
    names = {path.relative_to(whole) for path in whole.rglob("*")}
    assert {path.relative_to(killed) for path in killed.rglob("*")} == names
    for name in names:
        if name.suffix == ".npy":
            assert (killed / name).read_bytes() == (whole / name).read_bytes()
