"""Rows of figures into tables: medians, and behind each the ratio to Larder's."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from measure import Cost

STEPS = {
    "first": "first capture",
    "unchanged": "unchanged capture",
    "changed": "changed capture",
    "restore": "restore",
    "export": "tar to /dev/null",
    "verify": "verify, all data read",
    "cat": "one file",
}
COLUMNS = "corpus tool step round wall_s cpu_s rss_mib foreign_cpu_s store_bytes added_bytes".split()


@dataclass
class Row:
    """One run of one step, or what the store took after it."""

    corpus: str
    tool: str
    step: str
    round: int
    cost: Cost
    store_bytes: int | None = None
    added_bytes: int | None = None

    def tsv(self) -> str:
        cost = self.cost
        figures = f"{cost.wall:.3f} {cost.cpu:.2f} {cost.rss:.0f} {cost.foreign:.2f}".split()
        sizes = ["" if size is None else str(size) for size in (self.store_bytes, self.added_bytes)]
        return "\t".join([self.corpus, self.tool, self.step, str(self.round), *figures, *sizes])


@dataclass
class Table:
    """The figures of one corpus."""

    title: str
    tools: list[str]
    rows: list[Row]
    lines: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fill()

    def fill(self) -> None:
        """Adds all lines."""
        steps = [step for step in STEPS if any(row.step == step for row in self.rows)]
        for step in steps:
            if step == "cat":
                self.add(f"{STEPS[step]} from a cold process, ms", step, lambda r: r.cost.wall * 1e3, "{:.0f}")
            else:
                self.add(f"{STEPS[step]}, s (CPU)", step, lambda r: r.cost.wall, "{:.2f}", lambda r: r.cost.cpu)
            if step == "changed":
                self.add("bytes added by it, MB", step, lambda r: r.added_bytes / 1e6, "{:.2f}")
        for step in [step for step in ("first", "restore") if step in steps]:
            self.add(f"peak memory of the {STEPS[step]}, MiB", step, lambda r: r.cost.rss, "{:.0f}")
        self.add("store after the first capture, MB", "first", lambda r: r.store_bytes / 1e6, "{:.1f}")

    def add(
        self,
        label: str,
        step: str,
        figure: Callable[[Row], float],
        form: str,
        *cpu: Callable[[Row], float],
    ) -> None:
        """Adds a line: the median of `figure` for each tool, and of each `cpu` in brackets."""
        base = self.median("larder", step, figure)
        cells = [label]
        for tool in self.tools:
            value = self.median(tool, step, figure)
            if value is None:
                cells.append("–")
                continue
            cell = form.format(value)
            if cpu and any(row.cost.noisy for row in self.of(tool, step)):
                cell += "~"
            if base and tool != "larder":
                cell += f", {value / base:.3g}x"
            spent = " + ".join(f"{self.median(tool, step, one):.2f}" for one in cpu)
            cells.append(cell + (f" ({spent})" if cpu else ""))
        self.lines.append(cells)

    def of(self, tool: str, step: str) -> list[Row]:
        return [row for row in self.rows if row.tool == tool and row.step == step]

    def median(self, tool: str, step: str, figure: Callable[[Row], float]) -> float | None:
        values = [figure(row) for row in self.of(tool, step)]
        return statistics.median(values) if values else None

    def text(self) -> str:
        """The table in columns, for a terminal."""
        lines = [["", *self.tools], *self.lines]
        widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
        rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([self.title, "", *rows])

    def markdown(self, versions: dict[str, str]) -> str:
        """The table in Markdown."""
        lines = [["", *(versions[tool] for tool in self.tools)], ["---"] * (len(self.tools) + 1), *self.lines]
        return "\n".join([f"{self.title}:", "", *(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)])


def write_tsv(path: Path, rows: list[Row], columns: list[str] = COLUMNS) -> None:
    path.write_text("\n".join(["\t".join(columns), *(row.tsv() for row in rows)]) + "\n")


def show(
    tables: list[Table],
    rounds: int,
    machine: str,
    versions: dict[str, str],
    missing: list[str],
    wrong: list[str],
    markdown: bool,
) -> None:
    """Prints the tables, and all that has to be known to read them."""
    print(f"Medians of {rounds} round(s) on {machine}; behind each the ratio to Larder's.")
    print(f"Versions: {', '.join(versions.values())}." + "".join(f" Not measured: {name}." for name in missing))
    for table in tables:
        print(f"\n{table.markdown(versions) if markdown else table.text()}")
    if wrong:
        print(f"\nLeft out because they failed or gave something else than was captured: {'; '.join(wrong)}.")
    if any(row.cost.noisy for table in tables for row in table.rows):
        print("\n~ in one round at least, other processes used more CPU than a quarter of the wall time.")
