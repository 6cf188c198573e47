"""Reads 4 KiB at random places of a file, always the same ones; prints p50 and p99 in ms and a digest of all that was read.

    preads.py FILE COUNT

The kernel is told that the reads are random, as databases and virtual machines tell it: it reads nothing ahead.
"""

import hashlib
import os
import random
import sys
import time

SIZE = 4096


def main() -> None:
    path, count = sys.argv[1], int(sys.argv[2])
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    pages = os.fstat(file).st_size // SIZE
    places = random.Random(1)
    digest = hashlib.blake2b()
    took = []
    for _ in range(count):
        at = places.randrange(pages) * SIZE
        begun = time.perf_counter()
        piece = os.pread(file, SIZE, at)
        took.append(time.perf_counter() - begun)
        digest.update(piece)
    took.sort()
    print(f"{took[count // 2] * 1e3:.4f} {took[count * 99 // 100] * 1e3:.4f} {digest.hexdigest()}")


main()
