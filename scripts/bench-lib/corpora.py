"""The five corpora that are measured, made from what Debian and the Rust toolchain offer.

c1   the source of Linux 6.1: 79 thousand files of text
c2   five big files: archives, shared libraries, one that is compressed already; 2.15 GB
c3a  Debian's list of packages, one JSON file a package, in 256 folders: 60 thousand files of 900 bytes
c3b  the same records as one NDJSON file
c4   one file of 1 GB, cut from those of c2 in turns
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measure import Failed, files_in, remove, say

KERNEL = "linux-source-6.1"
PLACES = {"c1": KERNEL, "c2": "big-files", "c3a": "records/files", "c3b": "records/ndjson", "c4": "one-file"}
TITLES = {
    "c1": "Linux 6.1's source",
    "c2": "big files",
    "c3a": "small JSON files",
    "c3b": "the same records as one NDJSON file",
    "c4": "one file of mixed content",
}
BIG_FILES_BYTES = 2_147_500_000
ONE_FILE_BYTES = 1_000_000_000
ONE_FILE_PIECE = 8 << 20
BUFFER = 1 << 20
LISTS = set("Breaks Conflicts Depends Enhances Pre-Depends Provides Recommends Replaces Suggests Tag".split())
NUMBERS = {"Size", "Installed-Size"}


def default_home() -> Path:
    """Where the corpora are kept: BENCH_CORPORA, else in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BENCH_CORPORA") or cache / "larder" / "bench")


def corpus(name: str, home: Path) -> Path:
    """The folder of a corpus, made if it is missing."""
    place = home / PLACES[name]
    if not place.is_dir():
        say(f"making corpus {name} in {place}")
        {
            "c1": make_kernel,
            "c2": make_big_files,
            "c3a": make_records,
            "c3b": make_records,
            "c4": make_one_file,
        }[name](home)
    return place.resolve()


def describe(folder: Path) -> tuple[int, int]:
    """How many files a corpus has, and their bytes."""
    sizes = [entry.stat(follow_symlinks=False).st_size for entry in files_in(folder)]
    return len(sizes), sum(sizes)


def fresh(part: Path) -> Path:
    """An empty folder to make a corpus in; it gets its name when it is whole."""
    if part.exists():
        remove(part)
    part.mkdir(parents=True)
    return part


# --- c1 ---------------------------------------------------------------------------------------------------------------
def make_kernel(home: Path) -> None:
    part = fresh(home / "c1.part")
    subprocess.run(["tar", "-xJf", kernel_archive(home), "-C", part], check=True)
    (part / KERNEL).rename(home / KERNEL)
    remove(part)


def kernel_archive(home: Path) -> Path:
    """The kernel's source as Debian ships it, fetched once."""
    archive = home / f"{KERNEL}.tar.xz"
    if archive.is_file():
        return archive
    part = fresh(home / "deb.part")
    say(f"fetching Debian's package {KERNEL}")
    if subprocess.run(["apt-get", "-q", "download", KERNEL], cwd=part, stdout=subprocess.DEVNULL).returncode != 0:
        raise Failed(f"{KERNEL} could not be fetched: run this on Debian 12, or put its source at {home / KERNEL}")
    package = next(part.glob("*.deb"))
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as files:
        subprocess.run(["tar", "-x", f"./usr/src/{archive.name}"], stdin=files.stdout, cwd=part, check=True)
    (part / "usr/src" / archive.name).rename(archive)
    remove(part)
    return archive


# --- c2 ---------------------------------------------------------------------------------------------------------------
def make_big_files(home: Path) -> None:
    """Two libraries of the Rust toolchain, the kernel's archive, and as tars cargo's registry and /usr, cut so that the sum
    is always the same."""
    part = fresh(home / "c2.part")
    shutil.copy(kernel_archive(home), part)
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    for pattern in ("libLLVM.so.*", "librustc_driver-*.so"):
        for library in sorted(Path(sysroot, "lib").glob(pattern))[:1]:
            shutil.copy(library, part)
    registry = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "registry"
    write_tar(part / "cargo-registry.tar", registry, ["src", "cache"], 932_000_000)
    have = sum(entry.stat().st_size for entry in files_in(part))
    write_tar(part / "usr.tar", Path("/usr"), ["bin", "lib", "share"], BIG_FILES_BYTES - have)
    part.rename(home / PLACES["c2"])


def write_tar(path: Path, folder: Path, names: list[str], limit: int) -> None:
    """The first `limit` bytes of a tar of these folders, in order of names."""
    names = [name for name in names if (folder / name).is_dir()]
    if not names or limit <= 0:
        return
    argv = ["tar", "-C", folder, "--sort=name", "--warning=no-file-changed", "-c", *names]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tar, path.open("wb") as out:
        while limit > 0 and (piece := tar.stdout.read(min(limit, BUFFER))):
            out.write(piece)
            limit -= len(piece)
        tar.stdout.close()
        tar.kill()


# --- c3 ---------------------------------------------------------------------------------------------------------------
def make_records(home: Path) -> None:
    part = fresh(home / "c3.part")
    (part / "ndjson").mkdir()
    for number in range(256):
        (part / "files" / f"{number:02x}").mkdir(parents=True)
    names: set[str] = set()
    with (part / "ndjson" / "packages.ndjson").open("w") as lines:
        for record in package_records():
            name = "_".join(str(record.get(field, "")) for field in ("Package", "Version", "Architecture"))
            if name in names:
                continue
            names.add(name)
            text = json.dumps(record, ensure_ascii=False, sort_keys=True) + "\n"
            lines.write(text)
            folder = hashlib.sha256(name.encode()).hexdigest()[:2]
            (part / "files" / folder / f"{name.replace('/', '_').replace(':', '%3a')}.json").write_text(text)
    if len(names) < 1000:
        raise Failed("apt-cache knows hardly any package: run `apt-get update` first")
    if (home / "records").exists():
        remove(home / "records")
    part.rename(home / "records")


def package_records() -> Iterator[dict]:
    """What apt knows of each package: its fields, lists as lists, sizes as numbers."""
    dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout.decode(errors="replace")
    for paragraph in dump.split("\n\n"):
        fields: dict[str, str] = {}
        field = ""
        for line in paragraph.splitlines():
            if line.startswith((" ", "\t")):
                fields[field] = f"{fields.get(field, '')}\n{line[1:]}"
            elif ":" in line:
                field, value = line.split(":", 1)
                fields[field] = value.strip()
        if "Package" in fields:
            yield {field: typed(field, value) for field, value in fields.items()}


def typed(field: str, value: str) -> str | int | list[str]:
    if field in LISTS:
        return [part.strip() for part in value.replace("\n", "").split(",")]
    return int(value) if field in NUMBERS and value.isdigit() else value


# --- c4 ---------------------------------------------------------------------------------------------------------------
def make_one_file(home: Path) -> None:
    """Pieces of the big files, one of each in turn, in order of names: text, binaries and what is compressed already."""
    waiting = sorted(entry.path for entry in files_in(corpus("c2", home)))
    part = fresh(home / "c4.part")
    left, at = ONE_FILE_BYTES, 0
    with (part / "one-file.bin").open("wb") as out:
        while waiting and left > 0:
            pieces = {path: piece_of(path, at) for path in waiting}
            waiting = [path for path in waiting if pieces[path]]
            for piece in pieces.values():
                left -= out.write(piece[:left])
            at += ONE_FILE_PIECE
    part.rename(home / PLACES["c4"])


def piece_of(path: str, at: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(at)
        return file.read(ONE_FILE_PIECE)
