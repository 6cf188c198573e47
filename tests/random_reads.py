#!/usr/bin/env python3
"""Reads files of a mounted tree at random, as fsx does: several processes at once, each way there is to read, compared with
the source. random_reads.py SOURCE TREE SEED"""

import mmap
import os
import random
import stat
import sys

SOURCE, TREE, SEED = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3])
PROCESSES, STEPS = 4, 1_000
PAGE = mmap.PAGESIZE


def files():
    found = []
    for folder, folders, names in os.walk(SOURCE):
        folders[:] = sorted(name for name in folders if name not in (b"deep", b"many"))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), SOURCE)
            s = os.lstat(os.path.join(SOURCE, path))
            if stat.S_ISREG(s.st_mode):
                found.append((path, s.st_size))
    # Long ones have more to go wrong.
    return found, [1 + min(size, 8 << 20) // 65_536 for _, size in found]


def seek(fd, at, how):
    try:
        return os.lseek(fd, at, how)
    except OSError as e:
        return e.errno


def by_pread(fd, at, length, size):
    return os.pread(fd, length, at)


def by_read(fd, at, length, size):
    os.lseek(fd, at, os.SEEK_SET)
    return os.read(fd, length)


def by_vectors(fd, at, length, size):
    parts = [bytearray(length // 3), bytearray(1), bytearray(length)]
    count = os.preadv(fd, parts, at)
    return b"".join(parts)[:count]


def by_map(fd, at, length, size):
    if at >= size:
        return b""
    start = at // PAGE * PAGE
    with mmap.mmap(fd, min(size, at + length) - start, prot=mmap.PROT_READ, flags=random.choice((mmap.MAP_SHARED, mmap.MAP_PRIVATE)), offset=start) as view:
        return view[at - start :]


def beyond_map(fd, at, length, size):
    """What a map shows behind the end of a file, up to the page's end, is zero."""
    if not size or not size % PAGE:
        return b""
    start = size // PAGE * PAGE
    with mmap.mmap(fd, size - start, prot=mmap.PROT_READ, offset=start) as view:
        return view[:]


def by_sendfile(fd, at, length, size):
    left, right = os.pipe()
    count = os.sendfile(right, fd, at, min(length, 60_000))
    data = os.read(left, count) if count else b""
    os.close(left)
    os.close(right)
    return data


def advised(fd, at, length, size):
    """Out of the kernel's memory, so that it is asked for again."""
    os.posix_fadvise(fd, at, length, random.choice((os.POSIX_FADV_DONTNEED, os.POSIX_FADV_RANDOM, os.POSIX_FADV_SEQUENTIAL, os.POSIX_FADV_WILLNEED)))
    return os.pread(fd, length, at)


READS = (by_pread, by_read, by_vectors, by_map, by_sendfile, advised)


def direct(path, at, length):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, (length // PAGE + 1) * PAGE) as memory:
        count = os.preadv(fd, [memory], at // PAGE * PAGE)
        data = memory[:count]
    os.close(fd)
    return data


def work(process):
    random.seed(SEED * 1_000 + process)
    found, weights = files()
    for step in range(STEPS):
        path, size = random.choices(found, weights)[0]
        at, length = random.randrange(size + PAGE), random.choice((1, 17, PAGE, 65_536, 300_000, 2 << 20))
        at, length = (at // PAGE * PAGE if random.random() < 0.2 else at), random.randrange(length) + 1
        source, mounted = (os.open(os.path.join(root, path), os.O_RDONLY) for root in (SOURCE, TREE))
        read = random.choice(READS)
        what = f"seed {SEED}, process {process}, step {step}: {path!r} of {size} bytes, {read.__name__} {length} from {at}"
        expected, got = read(source, at, length, size), read(mounted, at, length, size)
        if read is by_sendfile or read is by_map:
            expected = os.pread(source, len(got), at)
            assert got or at >= size, what
        assert got == expected, what
        for how in (os.SEEK_DATA, os.SEEK_HOLE):
            assert seek(mounted, at, how) == seek(source, at, how), what
        if step % 16 == 0:
            assert beyond_map(mounted, 0, 0, size) == beyond_map(source, 0, 0, size), what
            start = at // PAGE * PAGE
            got = direct(os.path.join(TREE, path), at, length)
            assert got == os.pread(source, (length // PAGE + 1) * PAGE, start), what + ", O_DIRECT"
        os.close(source)
        os.close(mounted)


children = []
for process in range(PROCESSES):
    child = os.fork()
    if child == 0:
        try:
            work(process)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
print(f"{PROCESSES} processes, {STEPS} reads each")
sys.exit(1 if failed else 0)
