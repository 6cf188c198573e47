"""Sources of any size, the same every time, that are quicker to make than to capture."""

import random
from collections.abc import Iterator
from pathlib import Path

FILES_IN_A_FOLDER = 1000
WORDS = "static return struct offset entry lock page length count error next first buffer index state flags void".split()


def small_files(folder: Path, count: int) -> None:
    """Files of 200 to 2,000 bytes of text, no two alike, a thousand in a folder."""
    chance, text = random.Random(1), some_text(1 << 20)
    for number in range(count):
        if number % FILES_IN_A_FOLDER == 0:
            parent = folder / f"{number // FILES_IN_A_FOLDER:04}"
            parent.mkdir(parents=True)
        begin = chance.randrange(len(text) - 2000)
        content = b"%d\n" % number + text[begin : begin + chance.randrange(200, 2000)]
        (parent / f"{number:07}.txt").write_bytes(content)


def empty_files(folder: Path, count: int) -> None:
    """One folder of that many empty files."""
    folder.mkdir()
    for number in range(count):
        (folder / f"IMG_{number:08}.jpeg").touch()


def mixed_file(folder: Path, size: int) -> None:
    """One file of text, noise and runs of zeros by turns, a third of each."""
    folder.mkdir()
    with (folder / "mixed").open("wb") as out:
        for piece in mixed_pieces():
            piece = piece[:size]
            out.write(piece)
            size -= len(piece)
            if size == 0:
                return


def mixed_pieces() -> Iterator[bytes]:
    chance, text = random.Random(2), some_text(8 << 20)
    while True:
        length = chance.randrange(64 << 10, 2 << 20)
        yield b"".join(shuffled(text, length, chance))
        yield chance.randbytes(length)
        yield bytes(length)


def shuffled(text: bytes, length: int, chance: random.Random) -> Iterator[bytes]:
    """Stretches of the text in a new order: nothing is there twice, and it compresses as the text does."""
    while length > 0:
        stretch = min(length, chance.randrange(500, 8000))
        begin = chance.randrange(len(text) - stretch)
        yield text[begin : begin + stretch]
        length -= stretch


def some_text(size: int) -> bytes:
    """Lines of words and numbers; source code compresses about as well."""
    chance, lines, length = random.Random(3), [], 0
    while length < size:
        words = [*chance.choices(WORDS, k=6), f"0x{chance.getrandbits(32):08x}"]
        lines.append(" ".join(words))
        length += len(lines[-1]) + 1
    return "\n".join(lines).encode()[:size]
