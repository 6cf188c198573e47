"""Measures reading through mounts side by side, in one run, on the same folders.

    scripts/bench-peers mount [-n ROUNDS] [--corpus c1,c4] [--tools larder,restic,…] [--steps tar,read,…]
                              [--markdown] [--tsv FILE]

Larder, restic and borg (through pyfuse3 and through llfuse), all encrypted and as they come (borg with zstd 3); an image
of squashfs with zstd 3, Larder's level, unencrypted, served by squashfuse and by the kernel; and the folder itself on its
disk. On c1, Linux 6.1's source, and c4, one file of 1 GB (c3a, small files, where it is named).

of c1  ready   from the start of the command that mounts until the mount lists
       tar     `tar cf - . | wc -c`, cold, and once more in the same mount
       find    `find . -ls`, cold, and once more in the same mount
       rsync   `rsync -a` of all into a fresh folder, cold
of c4  read    `cat FILE | cat >/dev/null`, cold
       random  2,000 reads of 4 KiB at random places (POSIX_FADV_RANDOM), cold: p50 and p99
       decode  the file by the program itself (`larder cat`) into the same pipe: what the mount can hope for

Cold is a mount that nobody has read from. Before it the kernel drops all that it has cached, and then the files that the
mount is served from (store, keys and caches of the program, image) are read into the page cache again: what is measured
is the mount, not the disk. For the folder itself these are its own files: its cold figures are those of a disk that costs
nothing, with names and inodes in memory too, the hardest there is to compare with. Only root can have caches dropped; for
others a fresh mount alone is cold.

Of each the wall time, the CPU (user+sys) of the reader and of the process that serves the mount (the kernel's share of
serving is in the reader's), and the peak memory of that process. The ways take turns at every step of every round, and a
figure is the median of the rounds (3 unless told). Every exit status is checked, of the mounts too; so is the length of
every tar, the number of found entries and the content of the random reads, and in the first round the copy by rsync and
the big file against the source. A peer that fails or gives something else is named and left out.

The corpora are made by scripts/bench-corpora where they are missing. All else is made in a work folder on their disk and
removed at the end (7 ways in 3 rounds leave 30 GB of copies there until then). Root alone can mount squashfs.

LARDER_BIN, BENCH_CORPORA, BENCH_WORK, BENCH_PRIME   as for bench-peers; memory is primed before each mount
RESTIC_BIN    the peers: by default from PATH (Debian's `restic`, and `fuse3`); a missing one is named and left out
BORG_BIN      a venv with `pip install borgbackup pyfuse3 llfuse` has both libraries (building them takes Debian's
              `libfuse3-dev`, `libfuse-dev` and `pkg-config`)
SQUASHFUSE_BIN   by default squashfuse_ll, else squashfuse (Debian's `squashfuse`); `squashfs-tools` makes the image
"""

import corpora
import measure
import mounters as ways
import report
from arguments import parse
from measure import Failed, say
from mount_bench import COLUMNS, FILES, STEPS, TREES, MountBench, MountTable, Row


def main(argv: list[str]) -> int:
    known = {
        "corpus": [*TREES, *FILES],
        "tools": [mounter.name for mounter in ways.MOUNTERS],
        "steps": [step for steps in STEPS.values() for step in steps],
    }
    arguments = parse(argv, "bench-peers mount", __doc__, known, usual={"corpus": ["c1", "c4"]})
    home = corpora.default_home()
    rows: list[Row] = []
    tables: list[MountTable] = []
    wrong: list[str] = []
    with measure.work_folder("work.", home) as work:
        mounters, missing = ways.find(work, arguments.tools)
        if not mounters:
            raise Failed("nothing to measure")
        versions = {mounter.name: mounter.version() for mounter in mounters}
        say(f"work folder {work}; {', '.join(versions.values())}")
        for name in arguments.corpus:
            bench = MountBench(name, corpora.corpus(name, home), mounters, arguments.steps, work)
            tables.append(bench.run(arguments.rounds))
            rows += bench.rows
            wrong += [f"{tool} on {name}: {found}" for tool, found in bench.wrong.items()]
            if arguments.tsv:
                report.write_tsv(arguments.tsv, rows, COLUMNS)
    report.show(tables, arguments.rounds, measure.machine(home), versions, missing, wrong, arguments.markdown)
    return 0
