"""One corpus, mounted in every way and read: the steps of `bench-peers mount`."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import corpora
import measure
import report
from change import differences
from measure import Cost, Failed, Wrong, say
from mounters import Mounter
from mounts import Mount, mounted

PREADS = 2000
TREES = ("c1", "c3a")
FILES = ("c4",)
STEPS = {"tree": ["ready", "tar", "find", "rsync"], "file": ["read", "random", "decode"]}
COLUMNS = (
    "corpus tool step round wall_s client_cpu_s mount_cpu_s foreign_cpu_s client_rss_mib mount_rss_mib p50_ms p99_ms"
).split()


@dataclass
class Row:
    """One run of one step."""

    corpus: str
    tool: str
    step: str
    round: int
    cost: Cost  # of the reader
    served: float = 0.0  # seconds of CPU that the mount's process used meanwhile
    peak: float | None = None  # MiB that the mount's process had at most, up to then
    p50: float | None = None  # ms
    p99: float | None = None  # ms

    def tsv(self) -> str:
        cost = self.cost
        figures = f"{cost.wall:.4f} {cost.cpu:.2f} {self.served:.2f} {cost.foreign:.2f} {cost.rss:.0f}".split()
        peak = "" if self.peak is None else f"{self.peak:.0f}"
        waits = ["" if wait is None else f"{wait:.4f}" for wait in (self.p50, self.p99)]
        return "\t".join([self.corpus, self.tool, self.step, str(self.round), *figures, peak, *waits])


class MountTable(report.Table):
    """The figures of one corpus; in brackets the CPU seconds of the reader and of the mount's process."""

    def fill(self) -> None:
        self.add("mounted and listed, ms", "ready", lambda row: row.cost.wall * 1e3, "{:.0f}")
        for step, label in [
            ("tar", "tar, cold"),
            ("tar again", "tar, again"),
            ("find", "find -ls, cold"),
            ("find again", "find -ls, again"),
            ("rsync", "rsync -a into a fresh folder, cold"),
            ("read", "the file read from start to end, cold"),
        ]:
            seconds = (lambda row: row.cost.wall), "{:.2f}", (lambda row: row.cost.cpu), (lambda row: row.served)
            self.add(f"{label}, s (CPU)", step, *seconds)
        decoded = (lambda row: row.cost.wall), "{:.2f}", (lambda row: row.cost.cpu)
        self.add("the file decoded without a mount, s (CPU)", "decode", *decoded)
        self.add(f"{PREADS:,} random reads of 4 KiB, cold: p50, ms", "random", lambda row: row.p50, "{:.3f}")
        self.add("p99, ms", "random", lambda row: row.p99, "{:.3f}")
        for step, label in [
            ("tar again", "tar twice"),
            ("rsync", "rsync"),
            ("read", "reading it once"),
            ("random", "random reads"),
        ]:
            self.add(f"peak memory of the mount, {label}, MiB", step, lambda row: row.peak, "{:.0f}")
        self.lines = [line for line in self.lines if any(cell != "–" for cell in line[1:])]

    def median(self, tool, step, figure):
        known = all(figure(row) is not None for row in self.of(tool, step))
        return super().median(tool, step, figure) if known else None


class MountBench:
    """One corpus, mounted in all ways."""

    def __init__(self, name: str, source: Path, mounters: list[Mounter], steps: list[str], work: Path):
        self.name, self.source, self.mounters, self.work = name, source, mounters, work
        self.steps = [step for step in STEPS["file" if name in FILES else "tree"] if step in steps]
        self.at, self.scratch = work / "mount", work / "scratch"
        self.files, self.bytes = corpora.describe(source)
        # Of a corpus of files there is one, at the top.
        self.file = next((entry.name for entry in os.scandir(source) if entry.is_file()), "")
        self.rows: list[Row] = []
        self.copies: list[Path] = []
        self.wrong: dict[str, Failed | OSError] = {}
        self.expected = {step: self.ask_source(step) for step in self.steps if step in ("tar", "find", "random")}

    def run(self, rounds: int) -> MountTable:
        say(f"{self.name}: {self.files} files, {self.bytes / 1e6:.1f} MB")
        self.fill_stores()
        for number in range(1, rounds + 1):
            for step in self.steps:
                for mounter in self.mounters:
                    self.measure(step, mounter, number)
        # ext4 makes files slowly for half a minute after many were deleted: not before all is measured.
        for copy in self.copies:
            measure.remove(copy)
        title = f"{corpora.TITLES[self.name]} ({self.files:,} files, {self.bytes / 1e6:,.1f} MB), mounted"
        return MountTable(title, [mounter.name for mounter in self.mounters], self.rows)

    def fill_stores(self) -> None:
        captured: set[Path] = set()
        for mounter in self.mounters:
            if mounter.store not in captured:
                say(f"{self.name}: {mounter.name} captures it")
                captured.add(mounter.store)
                mounter.capture(self.source)

    def measure(self, step: str, mounter: Mounter, number: int) -> None:
        if mounter.name in self.wrong:
            return
        try:
            getattr(self, step)(mounter, number)
        except (Failed, OSError) as wrong:
            if mounter.name == "larder":
                raise
            say(f"{mounter.name}: {wrong}: left out")
            self.wrong[mounter.name] = wrong
            self.rows = [row for row in self.rows if row.tool != mounter.name]

    def ready(self, mounter: Mounter, number: int) -> None:
        with self.fresh(mounter) as mount:
            if mount.ready is not None:
                cost = Cost(mount.ready, 0.0, 0.0, 0.0)
                self.note(Row(self.name, mounter.name, "ready", number, cost, mount.cpu(), mount.peak()))

    def tar(self, mounter: Mounter, number: int) -> None:
        # To a pipe: for /dev/null tar reads no content. The length tells that no name is missing, and none too short.
        with self.fresh(mounter) as mount:
            for step in ("tar", "tar again"):
                length = self.shell(mounter, mount, step, number, "tar cf - . | wc -c").read_text()
                self.same("tar", length, "a tar of {} bytes")

    def find(self, mounter: Mounter, number: int) -> None:
        with self.fresh(mounter) as mount:
            for step in ("find", "find again"):
                lines = self.shell(mounter, mount, step, number, "find . -ls").read_bytes().count(b"\n")
                self.same("find", str(lines), "{} entries")

    def rsync(self, mounter: Mounter, number: int) -> None:
        target = self.work / f"copy-{mounter.name}-{number}"
        target.mkdir()
        self.copies.append(target)
        with self.fresh(mounter) as mount:
            self.timed(mounter, mount, "rsync", number, ["rsync", "-a", "./", f"{target}/"])
        if number == 1:
            # Not every tool keeps what the captured folder itself was like.
            if found := [line for line in differences(self.source, target) if not line.endswith(" ./")]:
                raise Wrong(f"the copy differs from the source in {len(found)} entries, first: {found[0]}")

    def read(self, mounter: Mounter, number: int) -> None:
        with self.fresh(mounter) as mount:
            self.shell(mounter, mount, "read", number, f"cat ./{shlex.quote(self.file)} | cat >/dev/null")
            if number == 1:
                self.compare(mount.root / self.file)

    def random(self, mounter: Mounter, number: int) -> None:
        with self.fresh(mounter) as mount:
            row = self.timed(mounter, mount, "random", number, self.preads())
            p50, p99, digest = (self.scratch / "out").read_text().split()
        row.p50, row.p99 = float(p50), float(p99)
        self.same("random", digest, "random reads of digest {}")

    def decode(self, mounter: Mounter, number: int) -> None:
        if argv := mounter.decode(self.file):
            self.make_cold(mounter)
            piped = ["bash", "-c", 'set -o pipefail; "$@" | cat >/dev/null', "bash", *argv]
            cost = measure.timed(piped, mounter.env(), self.work, self.scratch)
            self.note(Row(self.name, mounter.name, "decode", number, cost))

    def make_cold(self, mounter: Mounter) -> None:
        """The kernel holds nothing but the files that the mount is served from, as on a disk that costs nothing."""
        if os.geteuid() == 0:
            measure.drop_caches()
        for folder in mounter.reads():
            measure.warm(folder)
        measure.prime_memory()

    @contextmanager
    def fresh(self, mounter: Mounter) -> Iterator[Mount]:
        """A mount that nobody has read from."""
        self.make_cold(mounter)
        with mounted(mounter, self.at) as mount:
            yield mount

    def shell(self, mounter: Mounter, mount: Mount, step: str, number: int, line: str) -> Path:
        self.timed(mounter, mount, step, number, ["bash", "-c", f"set -o pipefail; {line}"])
        return self.scratch / "out"

    def timed(self, mounter: Mounter, mount: Mount, step: str, number: int, argv: list[str]) -> Row:
        before = mount.cpu()
        env = os.environ | {"LC_ALL": "C"}
        cost = measure.timed(argv, env, mount.root, self.scratch, self.scratch / "out")
        served = mount.cpu() - before
        cost = replace(cost, foreign=max(0.0, cost.foreign - served))
        row = Row(self.name, mounter.name, step, number, cost, served, mount.peak())
        self.note(row)
        return row

    def same(self, step: str, got: str, what: str) -> None:
        """Fails if a mount gave something else than the source does."""
        if got.strip() != self.expected[step]:
            raise Wrong(f"it gave {what.format(got.strip())}, the source {self.expected[step]}")

    def ask_source(self, step: str) -> str:
        """What the command of a step prints for the source itself."""
        commands = {
            "tar": ["bash", "-c", "set -o pipefail; tar cf - . | wc -c"],
            "find": ["bash", "-c", "set -o pipefail; find . -ls | wc -l"],
            "random": self.preads(),
        }
        done = subprocess.run(commands[step], cwd=self.source, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.split()[-1]

    def preads(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("preads.py")), self.file, str(PREADS)]

    def compare(self, path: Path) -> None:
        if subprocess.run(["cmp", "-s", path, self.source / self.file]).returncode != 0:
            raise Wrong(f"{self.file} is not what was captured")

    def note(self, row: Row) -> None:
        self.rows.append(row)
        memory = "" if row.peak is None else f", mount {row.peak:.0f} MiB"
        say(
            f"{self.name} round {row.round}: {row.tool:12} {row.step:10} {row.cost.wall:7.2f} s, CPU {row.cost.cpu:.2f} s, "
            f"of the mount {row.served:.2f} s{memory} (others used {row.cost.foreign:.2f} s of CPU)"
        )
