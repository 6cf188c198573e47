"""Runs a command and tells what it cost: wall time, CPU, peak memory, and how much CPU others used meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command did not do what it should; the text says which, where and how."""


class Wrong(Failed):
    """A tool gave back something else than it was given: its time says nothing."""


@dataclass
class Cost:
    """What one run of one command cost."""

    wall: float  # seconds
    cpu: float  # seconds, user and system, of the command and its children
    rss: float  # MiB, of its largest process
    foreign: float  # seconds of CPU that other processes used meanwhile

    @property
    def noisy(self) -> bool:
        """True if others may have slowed it: they used more than a quarter of its wall time."""
        return self.foreign > 0.1 and self.foreign > self.wall / 4


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def gnu_time() -> str:
    """GNU time. Its child starts small: a child of ours would count our own memory as its peak."""
    path = shutil.which("time")
    if path is None or b"GNU" not in subprocess.run([path, "--version"], capture_output=True).stdout:
        raise Failed("GNU time is needed (Debian's package is `time`)")
    return path


def prime_memory() -> None:
    """Touches and frees memory, BENCH_PRIME MiB (3072), at most half of what is available.

    On a virtual machine that hands idle pages back to its host a first touch costs several times as much."""
    with open("/proc/meminfo") as lines:
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    mib = min(int(os.environ.get("BENCH_PRIME", "3072")), available // 2048)
    if mib > 0:
        argv = ["dd", "if=/dev/zero", "of=/dev/null", f"bs={mib}M", "count=1", "iflag=fullblock", "status=none"]
        subprocess.run(argv, check=True)


def warm(folder: Path) -> None:
    """Brings a folder into the page cache: some machines take back within minutes what lies idle there."""
    # To a pipe: for /dev/null tar reads no content.
    with subprocess.Popen(["tar", "-C", folder, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["wc", "-c"], stdin=tar.stdout, stdout=subprocess.DEVNULL, check=True)


def drop_caches() -> None:
    """Has the kernel forget the pages, folders and inodes that it holds of any file system; only root can."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def busy_seconds() -> float:
    """CPU seconds that this machine has spent since it started, but for idling and waiting."""
    with open("/proc/stat") as lines:
        user, nice, system, _idle, _wait, irq, softirq = map(int, lines.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / CLOCK_TICKS


def run(
    argv: list[str],
    env: dict[str, str],
    cwd: Path,
    scratch: Path,
    out: Path | None = None,
    reads: list[Path] | None = None,
) -> Cost:
    """Runs a command and measures it; its standard output goes to `out` or is thrown away.

    The folders that it reads are warm in the page cache. Fails if its exit status is not 0."""
    prime_memory()
    os.sync()
    for folder in reads or []:
        warm(folder)
    return timed(argv, env, cwd, scratch, out)


def timed(argv: list[str], env: dict[str, str], cwd: Path, scratch: Path, out: Path | None = None) -> Cost:
    """Runs and measures a command as `run` does, with the page cache as it is. What it started ends with it."""
    figures, errors = scratch / "time", scratch / "errors"
    measured = [gnu_time(), "-o", str(figures), "-f", "%U %S %M", *argv]
    with open(out or os.devnull, "wb") as stdout, open(errors, "wb") as stderr:
        streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
        before, begun = busy_seconds(), time.perf_counter()
        status = run_group(measured, env=env, cwd=cwd, **streams)
        wall = time.perf_counter() - begun
        spent = busy_seconds() - before
    if status != 0:
        raise Failed(f"{' '.join(argv)}: exit status {status}: {tail(errors)}")
    user, system, rss = figures.read_text().splitlines()[-1].split()
    cpu = float(user) + float(system)
    return Cost(wall, cpu, int(rss) / 1024, max(0.0, spent - cpu))


def run_group(argv: list[str], **options) -> int:
    """The exit status of a command. If we are interrupted, all processes that it started are killed."""
    with subprocess.Popen(argv, start_new_session=True, **options) as process:
        try:
            return process.wait()
        except BaseException:
            # On a Ctrl-C `wait` has waited a moment more, and all may have ended by themselves.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def check(argv: list[str], env: dict[str, str], cwd: Path, scratch: Path, out: Path | None = None) -> None:
    """Runs a command that is not measured; fails if its exit status is not 0."""
    errors = scratch / "errors"
    with open(out or os.devnull, "wb") as stdout, open(errors, "wb") as stderr:
        streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
        status = subprocess.run(argv, env=env, cwd=cwd, **streams).returncode
    if status != 0:
        raise Failed(f"{' '.join(argv)}: exit status {status}: {tail(errors)}")


def tail(errors: Path) -> str:
    """The last lines of what a command said."""
    return " | ".join(errors.read_text(errors="replace").splitlines()[-5:]) or "it said nothing"


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder, by their lengths."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry in files_in(folder))


def files_in(folder: Path) -> Iterator[os.DirEntry]:
    """Every file below a folder, as os.DirEntry, in no order."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def remove(folder: Path) -> None:
    """Removes a folder; one that was restored may be read-only."""
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


@contextmanager
def work_folder(prefix: str, home: Path) -> Iterator[Path]:
    """A folder in BENCH_WORK, else in `home`, that is gone afterwards, whatever happens."""
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("BENCH_WORK") or home)).resolve()
    try:
        yield folder
    finally:
        remove(folder)


def machine(folder: Path) -> str:
    """This machine in a line."""
    with open("/proc/meminfo") as lines:
        memory = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal")) / 1048576
    with open("/proc/cpuinfo") as lines:
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    disk = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True).stdout.split()[-1]
    model = models[0] if models else os.uname().machine
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {disk}, Linux {os.uname().release}"
