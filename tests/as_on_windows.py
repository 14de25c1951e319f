"""Trains and predicts with what Windows lacks taken away from this project's modules, and from them alone.

Libraries keep what Linux has, as theirs differ on Windows. It shows that nothing needs what is absent there,
not how Windows treats what is present: open files, paths, signals.
"""

import builtins
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
import types
from pathlib import Path

ABSENT_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# Of what Python's documentation marks as available on Unix only, what a program like this could want.
ABSENT = {
    os: """O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC SCHED_OTHER WNOHANG chown chroot confstr
    fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority
    getresuid getsid getuid killpg lchown mkfifo mknod nice pathconf posix_fadvise posix_fallocate
    posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity
    sendfile setgid setpgid setpriority setsid setuid statvfs sync sysconf uname wait wait3 wait4""",
    signal: """SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2
    alarm pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait""",
    time: "CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_REALTIME clock_getres clock_gettime clock_gettime_ns tzset",
}
OWN = {"dsdenseunet", "experiments", "configs"}


class _StandIn(types.ModuleType):
    """A module of the standard library as Windows has it."""

    def __init__(self, module, **others):
        super().__init__(module.__name__)
        self.__dict__.update(others, _module=module, _absent=set(ABSENT[module].split()))

    def __getattr__(self, name):
        if name in self._absent:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)
        return getattr(self._module, name)


def take_away():
    """What this project's modules import from here on is as on Windows."""
    whole = builtins.__import__
    stand_ins = {module.__name__: _StandIn(module) for module in ABSENT}
    stand_ins["os"].__dict__.update(name="nt", altsep="/")

    def limited(name, globals=None, locals=None, fromlist=(), level=0):
        if (globals or {}).get("__name__", "").partition(".")[0] not in OWN or level:
            return whole(name, globals, locals, fromlist, level)
        if name in ABSENT_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return stand_ins.get(name) or whole(name, globals, locals, fromlist, level)

    builtins.__import__ = limited


def import_all(package):
    """Names of all modules of a package, which this has imported."""
    found = [name for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    for name in found:
        importlib.import_module(name)
    return found


def train_and_predict(folder):
    """One step of the smallest run and one scan, by what the commands call."""
    from absl import flags

    from dsdenseunet.models import registry
    from dsdenseunet.training import cascade
    from experiments import predict
    from tests.training import tiny

    registry.build = tiny.build_tiny
    config = tiny.get_config()
    config.data.cache = str(tiny.make_cache(folder))
    config.training.phase, config.phases.phase1.epochs, config.training.steps_per_epoch = "phase1", 1, 1
    config.training.validate_patches, config.data.augment_on_device = 0, False
    cascade.run(config, folder / "run")
    scan = next((folder / "data").rglob("volume-0.nii*"))
    flags.FLAGS(["predict", f"--workdir={folder / 'run'}", f"--input={scan}", f"--output={folder / 'out'}"])
    return predict.main([])


if __name__ == "__main__":
    take_away()
    import dsdenseunet

    names = import_all(dsdenseunet)
    status = train_and_predict(Path(sys.argv[1]))
    json.dump({"modules": names, "status": status}, sys.stderr)
