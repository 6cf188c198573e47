"""A mount while it lasts: made, watched, and taken away whatever happens."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import CLOCK_TICKS, Failed, tail
from mounters import Mounter

READY_WITHIN = 120.0  # seconds
GONE_WITHIN = 10.0  # seconds


@dataclass
class Mount:
    """A mount while it lasts."""

    root: Path
    ready: float | None = None  # seconds until it listed; None if nothing had to be mounted
    pid: int | None = None  # of the process that serves it

    def cpu(self) -> float:
        """CPU seconds, user and system, that its process has used."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def peak(self) -> float | None:
        """The most memory that its process has had at a time, in MiB."""
        if self.pid is None:
            return None
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def mounted(mounter: Mounter, at: Path) -> Iterator[Mount]:
    """Mounts what was captured, and takes it away again whatever happens. Its process must end with status 0."""
    argv = mounter.command(at)
    if argv is None:
        yield Mount(mounter.root(at))
        return
    at.mkdir(exist_ok=True)
    errors = mounter.scratch / "mount-errors"
    process = None
    try:
        begun = time.perf_counter()
        with open(errors, "wb") as stderr, uninterrupted():
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": stderr}
            # A group of its own: a Ctrl-C is ours alone, and we unmount in order.
            process = subprocess.Popen(argv, env=mounter.env(), start_new_session=True, **streams)
        wait_until_listed(mounter, at, process, errors)
        ready = time.perf_counter() - begun
        yield Mount(mounter.root(at).resolve(), ready, process.pid if mounter.serves else None)
    finally:
        with uninterrupted():
            status = take_away(mounter, at, process) if process else 0
    if status != 0:
        raise Failed(f"{' '.join(argv)}: exit status {status}: {tail(errors)}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that end us wait until this is done."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def wait_until_listed(mounter: Mounter, at: Path, process: subprocess.Popen, errors: Path) -> None:
    until = time.monotonic() + READY_WITHIN
    while not (is_mounted(at) and os.listdir(mounter.root(at))):
        if process.poll() is not None and (mounter.serves or process.returncode != 0):
            raise Failed(f"{' '.join(process.args)}: ended with status {process.returncode}: {tail(errors)}")
        if time.monotonic() > until:
            raise Failed(f"{' '.join(process.args)}: not mounted within {READY_WITHIN:.0f} s: {tail(errors)}")
        time.sleep(0.001)


def take_away(mounter: Mounter, at: Path, process: subprocess.Popen) -> int:
    """Unmounts, if need be though it is busy, and tells the exit status of the process.

    A process that is still starting is waited for: it may mount at any time."""
    until = time.monotonic() + GONE_WITHIN
    while is_mounted(at) or process.poll() is None:
        argv = mounter.unmount(at)
        if time.monotonic() > until:
            process.kill()
            argv = ["umount", "-l", str(at)] if os.geteuid() == 0 else ["fusermount3", "-uz", str(at)]
        if is_mounted(at):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(argv, env=mounter.env(), check=False, start_new_session=True, **quiet)
        time.sleep(0.01)
    return process.returncode


def is_mounted(at: Path) -> bool:
    """True if something is mounted there, even if what serves it is dead."""
    escaped = str(at).replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo") as lines:
        return any(line.split()[4] == escaped for line in lines)
