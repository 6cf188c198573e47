"""The programs that are measured: how each makes a store, and its command for each step.

Each has a home of its own in the work folder for keys and caches: what the user has set reaches none, and none touches
what is the user's. Everything is encrypted; what is not named here is each program's default. A tool's cache is what its
users have: it starts empty with each new store.
"""

import os
import shutil
import subprocess
from pathlib import Path

from measure import Failed, check, remove, say

PASSWORD = "bench-password"
ROOT = Path(__file__).resolve().parents[2]


class Tool:
    """A program, one store of it, and the latest snapshot in it."""

    name = ""
    binary = ""

    def __init__(self, path: str, work: Path):
        self.path, self.work = path, work
        self.store, self.home = work / self.name, work / f"{self.name}.home"
        self.scratch = work / "scratch"
        self.latest = ""
        self.scratch.mkdir(exist_ok=True)

    def env(self) -> dict[str, str]:
        """The environment of every command."""
        ours = ("LARDER_", "RESTIC_", "BORG_", "RUSTIC_", "BUPSTASH_", "XDG_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        env |= {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE", "DATA")}
        return env | {"LC_ALL": "C", "HOME": str(self.home)} | self.settings()

    def fresh_store(self) -> None:
        """A new store without snapshots, and none of the tool's caches."""
        for folder in (self.store, self.home):
            if folder.exists():
                remove(folder)
        self.home.mkdir(parents=True)
        for command in self.init():
            check(command, self.env(), self.work, self.scratch)

    def version(self) -> str:
        done = subprocess.run([self.path, *self.version_arguments()], capture_output=True, text=True, env=self.env())
        words = done.stdout.split()
        number = next((word.removeprefix("bupstash-") for word in words if any(c.isdigit() for c in word)), "?")
        return f"{self.name} {number}"

    def version_arguments(self) -> list[str]:
        return ["--version"]

    def settings(self) -> dict[str, str]:
        return {}

    def taken(self, output: Path) -> None:
        """Hears what a capture printed."""

    def init(self) -> list[list[str]]:
        """Makes the store."""
        raise NotImplementedError

    def capture(self, source: Path) -> list[str]:
        """Captures the folder; run in it."""
        raise NotImplementedError

    def restore(self, target: Path) -> list[str]:
        """Restores the latest snapshot into an empty folder; run in it."""
        raise NotImplementedError

    def export(self) -> list[str]:
        """The latest snapshot as a tar on standard output."""
        raise NotImplementedError

    def cat(self, path: str) -> list[str]:
        """One file of the latest snapshot on standard output."""
        raise NotImplementedError

    def verify(self) -> list[str] | None:
        """Reads and checks all data; None if the program cannot."""
        raise NotImplementedError


class Larder(Tool):
    name = binary = "larder"

    def settings(self):
        return {"LARDER_STORE": str(self.store)}

    def init(self):
        return [[self.path, "init"]]

    def capture(self, source):
        return [self.path, "snapshot", str(source), "--dataset", "bench"]

    def restore(self, target):
        return [self.path, "restore", "latest", str(target)]

    def export(self):
        return [self.path, "export", "--bare", "latest", "-o", "-"]

    def cat(self, path):
        return [self.path, "cat", f"latest:{path}"]

    def verify(self):
        return [self.path, "verify", "--read-data"]


class Bupstash(Tool):
    name = binary = "bupstash"

    def settings(self):
        return {"BUPSTASH_REPOSITORY": str(self.store), "BUPSTASH_KEY": str(self.home / "key")}

    def init(self):
        return [[self.path, "init"], [self.path, "new-key", "-o", str(self.home / "key")]]

    def capture(self, source):
        return [self.path, "put", "-q", "name=bench", str(source)]

    def taken(self, output):
        self.latest = output.read_text().strip()

    def restore(self, target):
        return [self.path, "restore", "-q", "--into", str(target), f"id={self.latest}"]

    def export(self):
        return [self.path, "get", "-q", f"id={self.latest}"]

    def cat(self, path):
        return [self.path, "get", "-q", "--pick", path, f"id={self.latest}"]

    def verify(self):
        return None


class Restic(Tool):
    name = binary = "restic"

    def settings(self):
        return {"RESTIC_REPOSITORY": str(self.store), "RESTIC_PASSWORD": PASSWORD}

    def version_arguments(self):
        return ["version"]

    def init(self):
        return [[self.path, "-q", "init"]]

    def capture(self, source):
        return [self.path, "-q", "backup", "."]

    def restore(self, target):
        return [self.path, "-q", "restore", "latest", "--target", str(target)]

    def export(self):
        return [self.path, "-q", "dump", "-a", "tar", "latest", "/"]

    def cat(self, path):
        return [self.path, "-q", "dump", "latest", f"/{path}"]

    def verify(self):
        return [self.path, "-q", "check", "--read-data"]


class Rustic(Tool):
    name = binary = "rustic"

    def settings(self):
        quiet = {"RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "warn"}
        return quiet | {"RUSTIC_REPOSITORY": str(self.store), "RUSTIC_PASSWORD": PASSWORD}

    def init(self):
        return [[self.path, "init"]]

    def capture(self, source):
        return [self.path, "backup", "--as-path", "/", "."]

    def restore(self, target):
        return [self.path, "restore", "latest:/", str(target)]

    def export(self):
        return [self.path, "dump", "--archive", "tar", "latest:/"]

    def cat(self, path):
        return [self.path, "dump", f"latest:/{path}"]

    def verify(self):
        return [self.path, "check", "--read-data"]


class Borg(Tool):
    name = binary = "borg"
    archives = 0

    def settings(self):
        return {
            "BORG_REPO": str(self.store),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.home),
            "BORG_EXIT_CODES": "modern",
        }

    def init(self):
        return [[self.path, "init", "-e", "repokey-blake2"]]

    def capture(self, source):
        self.archives += 1
        self.latest = f"::{self.archives}"
        return [self.path, "create", "-C", "zstd,3", self.latest, "."]

    def restore(self, target):
        return [self.path, "extract", self.latest]

    def export(self):
        return [self.path, "export-tar", self.latest, "-"]

    def cat(self, path):
        return [self.path, "extract", "--stdout", self.latest, path]

    def verify(self):
        return [self.path, "check", "--verify-data"]


TOOLS: list[type[Tool]] = [Larder, Bupstash, Restic, Rustic, Borg]


def find(work: Path, wanted: list[str]) -> tuple[list[Tool], list[str]]:
    """The programs that are here, and the names of those that are not: by LARDER_BIN and so on, else from PATH."""
    found, missing = [], []
    for kind in TOOLS:
        if kind.name not in wanted:
            continue
        given = os.environ.get(f"{kind.name.upper()}_BIN")
        path = shutil.which(given or kind.binary)
        if path is None and given:
            raise Failed(f"{kind.name.upper()}_BIN: {given} is not a program")
        if path is None and kind is Larder:
            path = build_larder()
        if path is None:
            missing.append(kind.name)
        else:
            found.append(kind(os.path.abspath(path), work))
    return found, missing


def build_larder() -> str:
    """Builds this checkout's program; the first time that takes a quarter of an hour."""
    say("building larder")
    script = 'source scripts/setup && cargo build --locked --release --quiet --bin larder && echo "$CARGO_TARGET_DIR"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed("larder could not be built: set LARDER_BIN to a program")
    return f"{done.stdout.splitlines()[-1]}/release/larder"
