"""Tiny labelled data of our own making, as files of every format."""

from __future__ import annotations

import random
from pathlib import Path

TYPES = ("person", "place")
PEOPLE, PLACES, REST = ("Ada", "Alan", "Grace"), ("Paris", "Oslo", "Rome"), ("went", "to", "saw", "the", "from", "and")


def names_folder(folder: Path, count: int = 60, seed: int = 1) -> Path:
    """Two languages that their last letters tell apart, and one that its first letter does."""
    draw = random.Random(seed)
    folder.mkdir(parents=True)

    def word(length: int) -> str:
        return "".join(draw.choice("abcdefgh") for _ in range(length))

    lines = {
        "Ov": [word(draw.randint(1, 6)) + "ov" for _ in range(count)],
        "Son": [word(draw.randint(1, 6)) + "son" for _ in range(count)],
        "Mac": ["Mc" + word(draw.randint(2, 5)) for _ in range(count // 2)],
    }
    for label, names in lines.items():
        (folder / f"{label}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return folder


def bio_sentences(count: int = 60, seed: int = 2) -> list[list[tuple[str, str]]]:
    """Sentences with names of people and places of one or two words."""
    draw = random.Random(seed)
    sentences = []
    for _ in range(count):
        sentence: list[tuple[str, str]] = []
        for _ in range(draw.randint(1, 4)):
            kind = draw.choice((*TYPES, ""))
            words = PEOPLE if kind == "person" else PLACES if kind else REST
            for number in range(draw.randint(1, 2)):
                mark = f"{'I' if number else 'B'}-{kind}" if kind else "O"
                sentence.append((draw.choice(words), mark))
            sentence.append((draw.choice(REST), "O"))
        sentences.append(sentence)
    return sentences


def bio_file(path: Path, count: int = 60, seed: int = 2) -> Path:
    """Two columns, token and tag, a blank line between sentences."""
    blocks = ["".join(f"{word}\t{tag}\n" for word, tag in one) for one in bio_sentences(count, seed)]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def conllu_file(path: Path, count: int = 40, seed: int = 3) -> Path:
    """Ten columns; with comments, a multiword token and an empty node in every sentence."""
    lines = []
    for number, sentence in enumerate(bio_sentences(count, seed)):
        lines += [f"# sent_id = {number}", "1-2\tboth\t" + "\t".join("_" * 8)]
        for place, (word, tag) in enumerate(sentence, start=1):
            upos = "PROPN" if tag != "O" else "VERB" if word in ("went", "saw") else "ADP"
            lines.append(f"{place}\t{word}\t{word}\t{upos}\t{upos[:2]}\t_\t0\troot\t_\t_")
        lines += ["1.1\tgone\t" + "\t".join("_" * 8), ""]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
