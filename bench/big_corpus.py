#!/usr/bin/env python3
"""A corpus of any size through `rnncore prepare` and a pass over all its chunks: does memory stay flat? (Linux)

    python bench/big_corpus.py --megabytes 5000 --folder /somewhere     # words by Zipf's law; about 7 GB while it runs
    python bench/big_corpus.py --megabytes 100 --shape line             # one line of 100 MB
    python bench/big_corpus.py --quick                                  # shows that it runs

Shapes: "lines" of 20 words, one "line" of words, one line of one "word". Each phase runs in a process of its own, whose
largest resident size is printed; the text and the ids are removed at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import string
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

LETTERS = np.frombuffer(string.ascii_lowercase.encode(), dtype=np.uint8)
PIECE = 1 << 20  # words at a time


def write_text(path: Path, size: int, shape: str, types: int) -> None:
    """About `size` bytes: word k with probability proportional to 1/k, words of 2 to 9 letters."""
    rng = np.random.Generator(np.random.Philox(key=[1, 1]))
    words = np.array(
        [b" " + rng.choice(LETTERS, rng.integers(2, 10)).tobytes() + b"%d" % k for k in range(types)], dtype=object
    )
    written = 0
    with path.open("wb") as file:
        while written < size:
            ranks = np.exp(rng.random(PIECE) * np.log(types)).astype(np.int64) - 1
            chosen = words[ranks]
            if shape == "lines":
                chosen[::20] = [word.replace(b" ", b"\n") for word in chosen[::20]]
            text = b"".join(chosen)
            text = text.replace(b" ", b"") if shape == "word" else text
            written += file.write(text[: size - written])


def tokenise(folder: Path, level: str, vocab_size: int) -> str:
    """`rnncore prepare`."""
    from rnncore.data import prepare

    facts = prepare(folder / "ids", folder / "text", level=cast(Any, level), max_size=vocab_size)
    state = facts["files"]["train"]
    return f"{state['tokens']:,} tokens of {facts['coverage']['types']:,} types"


def read(folder: Path) -> str:
    """All chunks of 50 steps of 50 streams, as training reads them."""
    from rnncore.data import open_corpus

    corpus = open_corpus(folder / "ids")
    chunks, total = 0, 0
    for chunk in corpus.streams(batch=50, bptt=50):
        total += int(chunk.targets[-1, -1])
        chunks += 1
    return f"{chunks:,} chunks of 50 x 50 (checksum {total})"


def _in_child(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    start = time.perf_counter()
    what = function(*arguments) or ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send((what, time.perf_counter() - start, peak))


def report(name: str, function: Callable[..., Any], *arguments: Any) -> None:
    """One line: seconds and largest resident size of a process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(sender, function, arguments))
    child.start()
    sender.close()
    try:
        what, seconds, peak = receiver.recv()
    except EOFError:
        raise SystemExit(f"{name} failed") from None
    finally:
        child.join()
    print(f"{name:10} {seconds:8.1f} s  peak {peak:7.0f} MiB  {what}", flush=True)


def main() -> None:
    """Writes, tokenises, reads, removes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=600, help="of text; a megabyte is 1,000,000 bytes")
    parser.add_argument("--shape", choices=["lines", "line", "word"], default="lines")
    parser.add_argument("--level", choices=["char", "byte", "word", "subword"], default="word")
    parser.add_argument("--types", type=int, default=200_000, help="different words")
    parser.add_argument("--vocab-size", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where the files go; default: a temporary one")
    parser.add_argument("--quick", action="store_true", help="two megabytes")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.megabytes, arguments.types, arguments.vocab_size = 2, 5_000, 3_000
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        size = int(arguments.megabytes * 1e6)
        report("write", write_text, folder / "text", size, arguments.shape, arguments.types)
        report("prepare", tokenise, folder, arguments.level, arguments.vocab_size)
        report("read", read, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
