"""Readers of texts with one label each: files by class, label and text per line, CSV and TSV, sentiment trees."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnncore._messages import message
from rnncore.data.records import OnError, Records, lines_of
from rnncore.data.text import PathLike, open_text

if TYPE_CHECKING:
    from _csv import Reader

FORMATS = ("files", "lines", "csv", "tsv", "sst2", "sst5", "sst2-phrases", "sst5-phrases")


@dataclass(frozen=True)
class Example:
    """A text and its label."""

    text: str
    label: str


@dataclass(frozen=True)
class Examples:
    """What a reader found: `items`, and how many malformed records it left out."""

    items: list[Example]
    skipped: int = 0


def read_examples(
    path: PathLike,
    format: str | None = None,
    *,
    on_error: OnError = "raise",
    text_column: str = "text",
    label_column: str = "label",
) -> Examples:
    """Read labelled texts; files whose names end in ``.gz`` are unpacked.

    Args:
        path: what the format says.
        format: default: "files" for a folder or a name with braces, else by the name's ending, else "lines".
            "files": a folder of ``<label>.txt``, or ``name.{pos,neg}.txt`` for several files; a text a line.
            "lines": ``label text`` a line, separated by white space.
            "csv", "tsv": named columns.
            "sst2", "sst5": trees in brackets, a tree a line: each root, with five classes or (0, 1 | 3, 4) two;
            "sst2-phrases", "sst5-phrases": each node once per tree. Neutral nodes are left out of the two classes.
        on_error: "raise": a malformed record is an error that names file and line; "skip": it is counted.
        text_column: of "csv" and "tsv".
        label_column: of "csv" and "tsv".

    Raises:
        OSError: a file cannot be read.
        ValueError: an unknown format, a malformed record, or nothing but those.
    """
    records = Records(on_error)
    name = str(path)
    kind = _format_of(name) if format is None else format
    if kind not in FORMATS:
        raise ValueError(message("read data", "format", " | ".join(FORMATS), repr(kind)))
    if kind == "files":
        items = _read_files(_files_of(name), records)
    elif kind == "lines":
        items = _read_lines(name, records)
    elif kind in ("csv", "tsv"):
        items = _read_table(name, "," if kind == "csv" else "\t", text_column, label_column, records)
    else:
        items = _read_trees(name, int(kind[3]), kind.endswith("-phrases"), records)
    if not items:
        raise ValueError(message("read data", name, "at least one record", f"none ({records.skipped} skipped)"))
    return Examples(items, records.skipped)


def _format_of(name: str) -> str:
    if Path(name).is_dir() or "{" in name:
        return "files"
    ending = Path(name.removesuffix(".gz")).suffix
    return ending[1:] if ending in (".csv", ".tsv") else "lines"


def _files_of(name: str) -> Mapping[str, str]:
    """Label -> file."""
    if braces := re.fullmatch(r"(.*)\{(.*)\}(.*)", name):
        before, labels, after = braces.groups()
        return {label: f"{before}{label}{after}" for label in labels.split(",")}
    files = sorted(file for file in Path(name).glob("*.txt*") if file.name.endswith((".txt", ".txt.gz")))
    if not files:
        hint = "or name.{pos,neg}.txt for files side by side"
        raise FileNotFoundError(message("read data", name, "a folder of <label>.txt", "no such files", hint))
    return {file.name.removesuffix(".gz").removesuffix(".txt"): str(file) for file in files}


def _read_files(files: Mapping[str, str], records: Records) -> list[Example]:
    items = []
    for label, file in files.items():
        lines = list(lines_of(file))
        if lines[-1][1] == "":
            lines.pop()  # the end of the last line
        for number, line in lines:
            if line.strip():
                items.append(Example(line.strip(), label))
            else:
                records.bad(file, number, "a text", line)
    return items


def _read_lines(name: str, records: Records) -> list[Example]:
    items = []
    for number, line in lines_of(name):
        parts = line.split(None, 1)
        if len(parts) == 2:
            items.append(Example(parts[1].strip(), parts[0]))
        elif parts:
            records.bad(name, number, "label and text", line)
    return items


def _read_table(name: str, separator: str, text: str, label: str, records: Records) -> list[Example]:
    if separator == ",":
        reader = csv.reader(open_text(name), strict=True)
    else:
        reader = csv.reader(open_text(name), delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    items: list[Example] = []
    rows = _rows(reader, name, records)
    number, header = next(rows, (1, []))
    for column in (text, label):
        if column not in header:
            raise ValueError(message("read data", f"{name} line {number}", f"a column {column!r}", ", ".join(header)))
    at_text, at_label = header.index(text), header.index(label)
    for number, row in rows:
        if len(row) == len(header) and row[at_label].strip() and row[at_text].strip():
            items.append(Example(row[at_text].strip(), row[at_label].strip()))
        elif row:
            records.bad(name, number, f"{len(header)} columns with text and label", separator.join(row))
    return items


def _rows(reader: Reader, name: str, records: Records) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with the lines that they end in; what cannot be read as a row is a bad record."""
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader goes on with the next line
            records.bad(name, reader.line_num, "a table row", str(error))
        else:
            yield reader.line_num, row


_TOKEN = re.compile(r"[()]|[^\s()]+")


def nodes_of(tree: str) -> list[tuple[int, str]]:
    """(label, text) of each node of a tree like ``(3 (2 not) (1 bad))``, the root last.

    Raises:
        ValueError: no such tree.

    >>> nodes_of("(3 (2 not) (1 bad))")
    [(2, 'not'), (1, 'bad'), (3, 'not bad')]
    """
    open_nodes: list[tuple[int, list[str]]] = []
    done: list[tuple[int, str]] = []
    tokens = iter(_TOKEN.findall(tree))
    for part in tokens:
        if part == "(":
            open_nodes.append((int(next(tokens, "")), []))
        elif part == ")":
            label, words = open_nodes.pop() if open_nodes else (0, [])
            if not words or not 0 <= label <= 4:
                raise ValueError("no tree")
            done.append((label, " ".join(words)))
            if open_nodes:
                open_nodes[-1][1].extend(words)
        elif open_nodes and (not done or open_nodes):
            open_nodes[-1][1].append(part.replace("-LRB-", "(").replace("-RRB-", ")"))
        else:
            raise ValueError("no tree")
    if open_nodes or not done:
        raise ValueError("no tree")
    return done


def _read_trees(name: str, classes: int, phrases: bool, records: Records) -> list[Example]:
    items: list[Example] = []
    for number, line in lines_of(name):
        if not line.strip():
            continue
        try:
            nodes = nodes_of(line)
        except ValueError:
            records.bad(name, number, "a tree like (3 (2 not) (1 bad))", line)
            continue
        kept = dict.fromkeys((text, label) for label, text in nodes) if phrases else [(nodes[-1][1], nodes[-1][0])]
        for text, label in kept:
            if classes == 5:
                items.append(Example(text, str(label)))
            elif label != 2:
                items.append(Example(text, "positive" if label > 2 else "negative"))
    return items
