"""Programs that compute on the CPU get their memory in huge pages, and are begun again at most once."""

import ctypes
import errno
import json
import os
import platform
import subprocess
import sys
import types

import pytest

from dsdenseunet.runtime import huge_pages
from tests.documents import ROOT

SETTING = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
# As experiments.train begins; then a block of 64 MiB, and how the kernel holds it.
PROGRAM = """
import ctypes, json, os, re, sys
print(os.getpid(), flush=True)
from dsdenseunet.runtime import huge_pages
if __name__ == "__main__":
    huge_pages.restart()
size = 64 << 20
allocate = ctypes.CDLL(None).malloc
allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
block = allocate(size)
for line in open("/proc/self/smaps"):
    if found := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
        inside = int(found[1], 16) <= block < int(found[2], 16)
    if inside and line.startswith("VmFlags"):
        huge = "hg" in line.split()
print(json.dumps({"arguments": sys.argv[1:], "tunables": os.environ.get("GLIBC_TUNABLES"), "huge": huge}))
"""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A machine whose kernel gives huge pages on request."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.35"))
    monkeypatch.setattr(huge_pages, "_MODES", tmp_path / "enabled")
    huge_pages._MODES.write_text("always [madvise] never\n")


@pytest.mark.usefixtures("asked")
def test_asked_for_where_the_kernel_waits_for_it():
    assert huge_pages.environment() == SETTING


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("library", [("glibc", "2.34"), ("", ""), ("glibc", "2.9")])
def test_not_asked_of_another_c_library(monkeypatch, library):
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    assert huge_pages.environment() == {}


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("modes", ["[always] madvise never", "always madvise [never]", None])
def test_not_asked_of_a_kernel_that_has_decided(modes):
    if modes is None:
        huge_pages._MODES.unlink()
    else:
        huge_pages._MODES.write_text(modes)
    assert huge_pages.environment() == {}


@pytest.mark.usefixtures("asked")
def test_not_asked_on_another_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert huge_pages.environment() == {}


@pytest.mark.usefixtures("asked")
def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert huge_pages.environment() == {}


def run(folder, command, **variables):
    """What the program printed: a process number for each beginning, and the last line."""
    for package in ("experiments", "others"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / package / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *beginnings, last = result.stdout.splitlines()
    return beginnings, json.loads(last)


@pytest.mark.skipif(
    not huge_pages.environment(), reason="this machine's kernel or C library has none to ask for"
)
def test_a_program_begins_again_once_as_the_same_process(tmp_path):
    beginnings, found = run(tmp_path, ["-m", "experiments.program", "--one", "two words"])
    assert len(beginnings) == 2
    assert len(set(beginnings)) == 1
    assert found == {
        "arguments": ["--one", "two words"],
        "tunables": SETTING["GLIBC_TUNABLES"],
        "huge": True,
    }


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (["-m", "experiments.program"], {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}),
        (["-m", "experiments.program"], {"JAX_PLATFORMS": "cuda,cpu"}),
        (["-m", "others.program"], {}),
        (
            [
                "-c",
                "from dsdenseunet.runtime.huge_pages import restart; restart(); import experiments.program",
            ],
            {},
        ),
    ],
    ids=["set by the user", "an accelerator", "another program", "no program"],
)
def test_others_are_not_begun_again(tmp_path, command, variables):
    beginnings, found = run(tmp_path, command, **variables)
    assert len(beginnings) == 1
    assert found == {"arguments": [], "tunables": variables.get("GLIBC_TUNABLES"), "huge": False}


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("number", [errno.E2BIG, errno.ENOMEM, errno.ENOENT, errno.EACCES])
def test_where_the_system_cannot_begin_again_the_program_goes_on(monkeypatch, number):
    tried = []

    def refuse(*arguments):
        tried.append(arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(getauxval=lambda kind: 0))
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", types.SimpleNamespace(name="experiments.train"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    huge_pages.restart()
    assert len(tried) == 1
    assert "GLIBC_TUNABLES" not in os.environ
