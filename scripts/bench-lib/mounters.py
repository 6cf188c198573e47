"""What is mounted side by side: every way to show a captured folder as a file system."""

import os
import shutil
import subprocess
from pathlib import Path

import tools as programs
from measure import Failed, check

# Larder compresses most content at this level (`Effort::USUAL` in src/codec).
ZSTD_LEVEL = "3"


class Mounter:
    """A way to mount what was captured. Mounters of one store share it."""

    name = ""
    # False if the command ends when the mount stands: the kernel serves it alone.
    serves = True

    def __init__(self, store: Path, scratch: Path):
        self.store, self.scratch = store, scratch

    def version(self) -> str:
        raise NotImplementedError

    def capture(self, source: Path) -> None:
        """Makes the store anew, with this folder in it."""
        raise NotImplementedError

    def reads(self) -> list[Path]:
        """The folders of the files that a mount is served from."""
        return [self.store]

    def env(self) -> dict[str, str]:
        return dict(os.environ)

    def command(self, at: Path) -> list[str] | None:
        """Mounts the captured folder; None if there is nothing to mount."""
        raise NotImplementedError

    def unmount(self, at: Path) -> list[str]:
        return ["umount", str(at)] if os.geteuid() == 0 else ["fusermount3", "-u", str(at)]

    def root(self, at: Path) -> Path:
        """Where below the mount point the captured folder is."""
        return at

    def decode(self, path: str) -> list[str] | None:
        """One file on standard output without a mount; None if there is no such command."""
        return None


class OfTool(Mounter):
    """A mount of a store that bench-peers measures in other ways too."""

    def __init__(self, tool: programs.Tool):
        super().__init__(tool.store, tool.scratch)
        self.tool = tool

    def version(self):
        return self.tool.version()

    def capture(self, source):
        self.tool.fresh_store()
        output = self.scratch / "out"
        check(self.tool.capture(source), self.tool.env(), source, self.scratch, output)
        self.tool.taken(output)

    def reads(self):
        return [self.tool.store, self.tool.home]

    def env(self):
        return self.tool.env()

    def decode(self, path):
        return self.tool.cat(path)


class Larder(OfTool):
    name = "larder"

    def command(self, at):
        return [self.tool.path, "mount", "--snapshot", "latest", str(at)]

    def unmount(self, at):
        return [self.tool.path, "unmount", str(at)]


class Restic(OfTool):
    name = "restic"

    def command(self, at):
        return [self.tool.path, "-q", "mount", str(at)]

    def root(self, at):
        return at / "snapshots" / "latest"


class Borg(OfTool):
    """Borg serves its mount through one of two libraries; each is measured."""

    library = ""

    def version(self):
        return f"{super().version()} ({self.library})"

    def env(self):
        return super().env() | {"BORG_FUSE_IMPL": self.library}

    def command(self, at):
        return [self.tool.path, "mount", "-f", self.tool.latest, str(at)]

    def has_library(self) -> bool:
        done = subprocess.run([self.tool.path, "debug", "info"], capture_output=True, text=True, env=self.env())
        return f"fuse: {self.library} " in done.stdout


class BorgPyfuse3(Borg):
    name = "borg-pyfuse3"
    library = "pyfuse3"


class BorgLlfuse(Borg):
    name = "borg-llfuse"
    library = "llfuse"


class Squashfuse(Mounter):
    """A compressed image, neither encrypted nor deduplicated, served by a process."""

    name = "squashfuse"

    def __init__(self, path: str, work: Path):
        super().__init__(work / "squashfs", work / "scratch")
        self.path, self.image = path, self.store / "image"

    def version(self):
        done = subprocess.run([self.path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        number = next((word for word in done.stdout.split() if word[0].isdigit()), "?")
        return f"{Path(self.path).name} {number}"

    def capture(self, source):
        self.store.mkdir(exist_ok=True)
        self.image.unlink(missing_ok=True)
        zstd = ["-comp", "zstd", "-Xcompression-level", ZSTD_LEVEL]
        check(["mksquashfs", str(source), str(self.image), *zstd, "-no-progress"], self.env(), self.store, self.scratch)

    def command(self, at):
        return [self.path, "-f", str(self.image), str(at)]


class KernelSquashfs(Squashfuse):
    """The same image, served by the kernel from a loop device."""

    name = "squashfs"
    serves = False

    def version(self):
        return f"squashfs of Linux {os.uname().release.split('-')[0]}"

    def command(self, at):
        return ["mount", "-t", "squashfs", "-o", "loop,ro", str(self.image), str(at)]


class Disk(Mounter):
    """The folder itself."""

    name = "disk"
    serves = False

    def version(self):
        done = subprocess.run(["stat", "-f", "-c", "%T", self.store.parent], capture_output=True, text=True)
        return f"the folder itself ({done.stdout.strip().replace('ext2/ext3', 'ext4')})"

    def capture(self, source):
        self.store = source

    def command(self, at):
        return None

    def root(self, at):
        return self.store


MOUNTERS: list[type[Mounter]] = [Larder, Restic, BorgPyfuse3, BorgLlfuse, Squashfuse, KernelSquashfs, Disk]


def find(work: Path, wanted: list[str]) -> tuple[list[Mounter], list[str]]:
    """The mounts that can be measured here, and the names of the others with the reason."""
    of_tools = {"larder": "larder", "restic": "restic", "borg-pyfuse3": "borg", "borg-llfuse": "borg"}
    tools = {tool.name: tool for tool in programs.find(work, [of_tools.get(name, "") for name in wanted])[0]}
    (work / "scratch").mkdir(exist_ok=True)
    found, missing = [], []
    for kind in MOUNTERS:
        if kind.name not in wanted:
            continue
        mounter = make(kind, work, tools.get(of_tools.get(kind.name, "")))
        if isinstance(mounter, str):
            missing.append(f"{kind.name} ({mounter})")
        else:
            found.append(mounter)
    return found, missing


def make(kind: type[Mounter], work: Path, tool: programs.Tool | None) -> Mounter | str:
    """A mounter, or why there can be none."""
    if kind is Disk:
        return Disk(work, work / "scratch")
    if issubclass(kind, OfTool):
        if tool is None:
            return "the program is not found"
        mounter = kind(tool)
        if isinstance(mounter, Borg) and not mounter.has_library():
            return f"this borg has no {mounter.library}: pip install {mounter.library}"
        return mounter
    if shutil.which("mksquashfs") is None:
        return "no mksquashfs: Debian's squashfs-tools"
    if kind is KernelSquashfs:
        if os.geteuid() != 0:
            return "only root can mount it"
        if "\tsquashfs\n" not in Path("/proc/filesystems").read_text():
            return "not in this kernel: modprobe squashfs"
        return KernelSquashfs("", work)
    given = os.environ.get("SQUASHFUSE_BIN")
    path = shutil.which(given) if given else shutil.which("squashfuse_ll") or shutil.which("squashfuse")
    if path is None and given:
        raise Failed(f"SQUASHFUSE_BIN: {given} is not a program")
    return Squashfuse(path, work) if path else "Debian's squashfuse"
