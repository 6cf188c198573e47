"""A day's work on a source tree, the same every time: what the capture of a changed folder is measured with."""

import os
import random
import subprocess
from pathlib import Path

from measure import Failed

EDITED, DELETED, ADDED = 500, 200, 300
RENAMED = "sound/soc/codecs"


def change(folder: Path, seed: int) -> None:
    """Edits, deletes and adds files and renames a folder, chosen by `seed`."""
    chance = random.Random(seed)
    chosen = chance.sample(regular_files(folder), EDITED + DELETED + ADDED)
    for path in chosen[:EDITED]:
        path.write_bytes(with_a_new_line(path, chance))
    for path in chosen[EDITED : EDITED + DELETED]:
        path.unlink()
    for path in chosen[EDITED + DELETED :]:
        path.with_name(f"{path.stem}-{seed}{path.suffix}").write_bytes(with_a_new_line(path, chance))
    (folder / RENAMED).rename(folder / f"{RENAMED}-renamed")


def put_back(folder: Path, original: Path) -> None:
    """Makes a changed folder as the original is again; files that were not changed stay the files they are."""
    renamed = folder / f"{RENAMED}-renamed"
    if renamed.is_dir():
        renamed.rename(folder / RENAMED)
    subprocess.run(["rsync", "-aHAX", "--delete", f"{original}/", f"{folder}/"], check=True)
    if left := differences(original, folder, checksum=False):
        raise Failed(f"{folder} could not be put back: {left[0]}")


def differences(one: Path, other: Path, checksum: bool = True) -> list[str]:
    """What rsync sees that two folders do not have alike; the time of the top folder alone is forgiven."""
    argv = ["rsync", "-naHAXi", "--delete", *(["--checksum"] if checksum else []), f"{one}/", f"{other}/"]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        return [f"rsync failed: {done.stderr.strip()}"]
    return [line for line in done.stdout.splitlines() if not (line.startswith(".d..t") and line.endswith(" ./"))]


def regular_files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        if Path(parent, "").is_relative_to(folder / RENAMED):
            continue
        found += [Path(parent, name) for name in sorted(names) if not Path(parent, name).is_symlink()]
    return found


def with_a_new_line(path: Path, chance: random.Random) -> bytes:
    """A file's content with one more line in the middle."""
    content = path.read_bytes()
    middle = content.find(b"\n", len(content) // 2) + 1
    return content[:middle] + f"/* changed {chance.getrandbits(64):016x} */\n".encode() + content[middle:]
