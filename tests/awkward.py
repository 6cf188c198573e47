#!/usr/bin/env python3
"""Makes a tree with every awkward thing a file system can hold. awkward.py FOLDER [--quick]   (as root: owners, devices)

With --quick the largest file and folder are smaller, for tests that read all of it more than once."""

import os
import struct
import sys

QUICK = "--quick" in sys.argv[2:]

os.umask(0o022)
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])


def write(name, data=b""):
    with open(name, "wb") as file:
        file.write(data)


# Names
write(b"bad\xff\xfename", b"not UTF-8")
write(b"n" * 255, b"as long as a name may be")
write("ünï çödé".encode(), b"UTF-8")
write(b"new\nline and \x1b[31mescape", b"control characters")
write(b"-rf", b"looks like an option")
write(b" ", b"a blank")
write(b"back\\slash\"quote'", b"quotes")

# Sizes
write("empty")
write("one", b"1")
for size in (4095, 4096, 4097, 65535, 65536, 65537, 524288, 524289, 1048576, 1048577):
    write(f"size-{size}", os.urandom(size))
write("text", b"".join(b"line %d\n" % i for i in range(300_000)))
write("zeros-with-blocks", bytes(1 << 20))

# Holes
def sparse(name, size, data):
    with open(name, "wb") as file:
        for offset, piece in data:
            file.seek(offset)
            file.write(piece)
        file.truncate(size)


os.mkdir("holes")
sparse("holes/all", 1 << 20, [])
sparse("holes/lead", 300_000, [(200_000, b"tail")])
sparse("holes/trail", 300_000, [(0, b"head")])
sparse("holes/both", 3 << 20, [(1 << 20, os.urandom(70_000))])
unit = (16 << 20) if QUICK else (1 << 30)
sparse("holes/large", 5 * unit, [(unit, b"island"), (4 * unit, os.urandom(100_000))])
sparse("holes/many", 8192 * 3000, [(i * 8192 + 4096, b"x" * 4096) for i in range(3000)])
sparse("holes/some", 8192 * 60, [(i * 8192 + 4096, b"y" * 4096) for i in range(60)])

# Hard links
write("link-a", b"several names")
os.mkdir("links")
os.link("link-a", "links/link-b")
os.link("link-a", "zz-link-c")
os.symlink("nowhere", "link-symlink")
os.link("link-symlink", "links/symlink-too", follow_symlinks=False)
os.mkfifo("link-fifo")
os.link("link-fifo", "links/fifo-too")
write("links/big", os.urandom(1_500_000))
os.link("links/big", "links/big-too")

# Symlinks
os.symlink("loop-b", "loop-a")
os.symlink("loop-a", "loop-b")
os.symlink(".", "here")
os.symlink("x" * 4095, "long-target")
os.symlink(b"bad\xfftarget", "odd-target")
os.symlink("/etc/passwd", "outside")

# Devices and pipes
os.mkfifo("fifo", 0o640)
os.mknod("null", 0o020666, os.makedev(1, 3))
os.mknod("block", 0o060600, os.makedev(7, 200))
os.mknod("large-numbers", 0o020600, os.makedev(4000, 900_000))

# Owners and modes
write("owned", b"by nobody we know")
os.chown("owned", 123_456, 654_321)
os.mkdir("owners")
for uid, gid in ((1, 0), (0, 1), (65_534, 65_534), (0x7FFF_FFFF, 0x7FFF_FFFE), (0xFFFF_FFFE, 0xFFFF_FFFD)):
    write(f"owners/{uid}-{gid}", b"someone else's")
    os.chown(f"owners/{uid}-{gid}", uid, gid)
os.symlink("nobody", "owners/link")
os.chown("owners/link", 77, 88, follow_symlinks=False)
os.chown("owners", 1000, 1000)
write("setuid", b"#!/bin/sh\n")
os.chmod("setuid", 0o6755)
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.mkdir("setgid")
os.chmod("setgid", 0o2750)
write("secret", b"no rights")
os.chmod("secret", 0)
os.mkdir("closed")
write("closed/inside", b"in a folder without rights")
os.chmod("closed", 0)

# Attributes and ACLs
write("xattr", b"has attributes")
os.setxattr("xattr", "user.colour", b"blue")
os.setxattr("xattr", "user.empty", b"")
os.setxattr("xattr", "user.binary", bytes(range(256)))
os.setxattr("xattr", "trusted.deep", b"root only")
write("xattr-large", b"has a long one")
os.setxattr("xattr-large", "user.long", os.urandom(3000))
write("capable", b"may open raw sockets")
os.setxattr("capable", "security.capability", struct.pack("<5I", 0x0200_0001, 1 << 13, 0, 0, 0))
os.mkdir("xattr-folder")
os.setxattr("xattr-folder", "user.folder", b"yes")
os.setxattr("outside", "trusted.on-symlink", b"yes", follow_symlinks=False)
os.setxattr("null", "trusted.on-device", b"yes")


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, rights, who) for tag, rights, who in entries)


NOBODY = 0xFFFFFFFF
write("acl", b"has an ACL")
os.setxattr("acl", "system.posix_acl_access", acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)))
os.mkdir("acl-folder")
both = acl((1, 7, NOBODY), (2, 5, 1234), (4, 5, NOBODY), (8, 7, 4321), (16, 7, NOBODY), (32, 5, NOBODY))
os.setxattr("acl-folder", "system.posix_acl_access", both)
os.setxattr("acl-folder", "system.posix_acl_default", both)

# Folders
os.mkdir("empty-folder")
os.mkdir("many")
for i in range(3_000 if QUICK else 20_000):
    write(f"many/{i}")
os.mkdir("deep")
here = os.open("deep", os.O_RDONLY)
for level in range(40):
    name = f"{level:02}" + "d" * 200
    os.mkdir(name, dir_fd=here)
    below = os.open(name, os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = below
bottom = os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here)
os.write(bottom, b"more than 8,000 bytes of path")
os.link("bottom", "bottom-too", src_dir_fd=here, dst_dir_fd=here)

# Times, last: before 1970, beyond 2038, with nanoseconds
def when(name, seconds, nanos=0, **more):
    ns = seconds * 1_000_000_000 + nanos
    os.utime(name, ns=(ns, ns), **more)


for name, seconds, nanos in (("one", -1, 999_999_999), ("text", -2_000_000_000, 1), ("empty", 0, 0), ("owned", 4_000_000_000, 123_456_789), ("acl", 8_000_000_000, 5)):
    when(name, seconds, nanos)
when("outside", 1_000_000_000, 7, follow_symlinks=False)
when("fifo", 1_234_567_890, 987_654_321)
when("many", 86_400, 42)
when(".", 1_700_000_000, 111_222_333)
