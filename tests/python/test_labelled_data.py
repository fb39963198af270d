"""Readers of labelled data: every format, every malformed record named or counted; splits, folds, batches, vectors."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_files import bio_file, bio_sentences, conllu_file, names_folder

from rnncore.data import (
    ClassCorpus,
    ClassSource,
    Example,
    TagCorpus,
    TagSource,
    Vocabulary,
    bucketed,
    is_bio,
    load_vectors,
    padding,
    read_examples,
    read_sentences,
    stratified_folds,
    stratified_split,
)
from rnncore.train import TrainConfig
from rnncore.train.batch_feed import Buckets


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def pairs(path: Path | str, format: str | None = None, **options: str) -> list[tuple[str, str]]:
    return [(one.label, one.text) for one in read_examples(path, format, **options).items]  # type: ignore[arg-type]


def test_a_folder_of_classes(tmp_path: Path) -> None:
    write(tmp_path / "d" / "B.txt", "b one\nb two\n")
    write(tmp_path / "d" / "A.txt.gz", "a é\r\n")
    assert pairs(tmp_path / "d") == [("A", "a é"), ("B", "b one"), ("B", "b two")]


def test_files_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "x.pos.txt", "good")
    write(tmp_path / "x.neg.txt", "bad\n")
    assert pairs(f"{tmp_path}/x.{{pos,neg}}.txt") == [("pos", "good"), ("neg", "bad")]


def test_lines_tables_and_trees(tmp_path: Path) -> None:
    assert pairs(write(tmp_path / "l.txt", "1 a film\n\n0\tbad one\n")) == [("1", "a film"), ("0", "bad one")]
    table = 'id,label,text\n1,x,"a, ""b"""\n2,y,c\n'
    assert pairs(write(tmp_path / "t.csv", table)) == [("x", 'a, "b"'), ("y", "c")]
    tabs = 'kind\tsays\nx\ta "b\ny\tc\n'
    found = pairs(write(tmp_path / "t.tsv.gz", tabs), text_column="says", label_column="kind")
    assert found == [("x", 'a "b'), ("y", "c")]
    trees = write(tmp_path / "trees.txt", "(3 (2 It) (4 (2 's) (4 (1 not) (4 -LRB-bad-RRB-))))\n(2 (2 so) (2 so))\n")
    assert pairs(trees, "sst5") == [("3", "It 's not (bad)"), ("2", "so so")]
    assert pairs(trees, "sst2") == [("positive", "It 's not (bad)")]
    phrases = pairs(trees, "sst2-phrases")
    assert ("negative", "not") in phrases
    assert ("positive", "not (bad)") in phrases
    assert len(pairs(trees, "sst5-phrases")) == 9, "the second 'so' is the same phrase"


@pytest.mark.parametrize(
    ("name", "format", "text", "line"),
    [
        ("d/A.txt", "files", "one\n\ntwo\n", 2),
        ("l.txt", "lines", "1 good\nalone\n0 bad\n", 2),
        ("t.csv", "csv", "label,text\nx,a\nx\ny,b\n", 3),
        ("t.csv", "csv", "label,text\nx,a\n,b\n", 3),
        ("t.csv", "csv", 'label,text\nx,a\ny,"b"c\n', 3),
        ("t.tsv", "tsv", "label\ttext\nx\ta\ny\tb\tc\n", 3),
        ("t.txt", "sst5", "(3 (2 a) (2 b))\n(3 (2 a) (2 b)\n", 2),
        ("t.txt", "sst5", "(3 a)\n(9 b)\n", 2),
        ("t.txt", "sst2", "(3 a)\nb (4 c)\n", 2),
        ("t.txt", "sst2-phrases", "(3 a)\n(x b)\n", 2),
        ("t.txt", "sst2", "(3 a)\n()\n", 2),
    ],
)
def test_a_malformed_record_is_named_or_counted(tmp_path: Path, name: str, format: str, text: str, line: int) -> None:
    path = write(tmp_path / name, text)
    given_path = path.parent if format == "files" else path
    with pytest.raises(ValueError, match=rf"\[read data\] .*{path.name} line {line}: expected"):
        read_examples(given_path, format)
    kept = read_examples(given_path, format, on_error="skip")
    assert kept.skipped == 1
    assert kept.items


@pytest.mark.parametrize("bad", ['y,"b"c', "y", ",b", "y," + "b" * 200_000])
def test_rows_after_a_bad_one_are_read(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "t.csv", f"label,text\nx,a\n{bad}\nz,c\n{bad}\nz,d\n")
    kept = read_examples(path, on_error="skip")
    assert [one.text for one in kept.items] == ["a", "c", "d"]
    assert kept.skipped == 2


def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder of <label>\.txt"):
        read_examples(tmp_path / "empty")
    with pytest.raises(ValueError, match="a column 'label'"):
        read_examples(write(tmp_path / "t.csv", "text,kind\na,b\n"))
    with pytest.raises(ValueError, match="format"):
        read_examples(write(tmp_path / "t.txt", "a b"), "xml")
    with pytest.raises(ValueError, match="on_error"):
        read_examples(tmp_path / "t.txt", on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one record"):
        read_examples(write(tmp_path / "t.txt", "alone\n"), "lines", on_error="skip")
    with pytest.raises(OSError, match="gzip"):
        read_examples(write(tmp_path / "plain", "1 a").rename(tmp_path / "x.txt.gz"), "lines")


def test_conllu_leaves_out_what_is_no_word(tmp_path: Path) -> None:
    found = read_sentences(conllu_file(tmp_path / "a.conllu"))
    assert [one.words for one in found.items] == [[word for word, _ in one] for one in bio_sentences(40, 3)]
    assert set(found.items[0].tags) <= {"PROPN", "VERB", "ADP"}
    assert read_sentences(tmp_path / "a.conllu", "conllu-xpos").items[0].tags[0] in ("PR", "VE", "AD")


def test_two_columns(tmp_path: Path) -> None:
    found = read_sentences(bio_file(tmp_path / "a.conll"))
    assert [list(zip(one.words, one.tags, strict=True)) for one in found.items] == bio_sentences()
    assert all(is_bio(one.tags) for one in found.items)
    assert not is_bio(["B-a", "I-b"])


def test_tokens_with_blanks_are_whole_where_tabs_separate(tmp_path: Path) -> None:
    tabs = read_sentences(write(tmp_path / "t.conll", "New York\tB-loc\nis\tO\n\nbig \tO\r\n"))
    assert [one.words for one in tabs.items] == [["New York", "is"], ["big"]]
    assert [one.tags for one in tabs.items] == [["B-loc", "O"], ["O"]]
    corpus = TagCorpus.build(tabs.items, min_count=1)
    assert corpus.vocabulary.tokens == ("<unk>", "<eos>", "New York", "big", "is")
    blanks = read_sentences(write(tmp_path / "b.conll", "EU  NNP I-NP B-ORG\nrejects VBZ I-VP O\n"))
    assert (blanks.items[0].words, blanks.items[0].tags) == (["EU", "rejects"], ["B-ORG", "O"])
    uneven = write(tmp_path / "u.conll", "a O\n\nNew York B-loc\nis O\n\nb O\n")
    with pytest.raises(ValueError, match=r"u.conll line 3: expected 2 columns as in the lines before, got 'New York"):
        read_sentences(uneven)
    kept = read_sentences(uneven, on_error="skip")
    assert ([one.words for one in kept.items], kept.skipped) == ([["a"], ["b"]], 1)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [("a.conll", "a O\n\nb\nc O\n\nd O\n", 3), ("a.conllu", "1\ta\n\n" + "\t".join(["1", "b", *"_" * 8]) + "\n", 1)],
)
def test_a_malformed_sentence_is_named_or_counted(tmp_path: Path, name: str, text: str, line: int) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(ValueError, match=rf"{name} line {line}: expected"):
        read_sentences(path)
    kept = read_sentences(path, on_error="skip")
    assert kept.skipped == 1
    assert kept.items[-1].words == (["d"] if name == "a.conll" else ["b"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=60), st.integers(0, 5))
def test_splits_and_folds_are_stratified(labels: list[str], seed: int) -> None:
    kept, held = stratified_split(labels, 0.25, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for name, count in Counter(labels).items():
        assert sum(labels[i] == name for i in held) == min(round(0.25 * count), count - 1)
    folds = stratified_folds(labels, 4, seed)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(labels)))
    for name, count in Counter(labels).items():
        shares = [sum(labels[i] == name for i in fold) for fold in folds]
        assert max(shares) - min(shares) <= 1, (name, count)


def test_splits_depend_on_the_seed_alone() -> None:
    labels = ["a"] * 50 + ["b"] * 50
    first, again, other = (stratified_split(labels, 0.1, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_batches_of_about_equal_lengths_waste_little() -> None:
    """Lengths as sentences have them: log-normal, from 1 to over 60."""
    draw = np.random.Generator(np.random.Philox(3))
    lengths = np.maximum(draw.lognormal(2.8, 0.5, 8000).astype(int), 1).tolist()
    assert max(lengths) > 60
    batches = bucketed(lengths, 32, seed=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(8000))
    assert padding(lengths, batches) < 0.05
    shuffled = np.array_split(draw.permutation(8000), 250)
    assert padding(lengths, shuffled) > 0.3, "the measure bites"
    assert [one.tolist() for one in bucketed(lengths, 32, seed=1)] == [one.tolist() for one in batches]
    assert [one.tolist() for one in bucketed(lengths, 32, seed=1, epoch=1)] != [one.tolist() for one in batches]


def test_buckets_sort_more_together_where_much_would_be_padding() -> None:
    lengths = np.minimum(np.random.default_rng(0).geometric(0.2, 60000), 50)
    config = TrainConfig(epochs=1, batch=100, seed=3)
    assert padding(lengths.tolist(), bucketed(lengths.tolist(), 100, seed=3)) > 0.05
    buckets = Buckets(lengths.tolist(), config)
    assert buckets.padding < 0.05
    for epoch in (0, 3):
        assert sorted(int(n) for part in buckets.epoch(epoch) for n in part) == list(range(60000))
        assert padding(lengths.tolist(), buckets.epoch(epoch)) < 0.05


def test_sources_hold_out_and_come_back_from_json(tmp_path: Path) -> None:
    source = ClassSource(train=str(names_folder(tmp_path / "names")), test_fraction=0.2, valid_fraction=0.1, seed=3)
    corpus = source.load()
    assert len(corpus.train) + len(corpus.valid) + len(corpus.test) == 150
    assert len(corpus.test) == 30
    again = ClassSource.from_json(source.to_json())
    assert again == source
    assert again.load(labels=corpus.labels).fingerprint == corpus.fingerprint
    assert ClassSource(train=source.train, test_fraction=0.2, seed=4).load().fingerprint != corpus.fingerprint
    assert TagSource.from_json({"train": "x"}) == TagSource(train="x")  # from a version with fewer options
    for value in ({}, {"train": "x", "colour": 1}):
        with pytest.raises(ValueError, match=r"\[data source\] fields: expected .*train.*, got"):
            TagSource.from_json(value)


def test_labels_that_the_training_part_lacks_are_named() -> None:
    train = [Example("a", "x"), Example("b", "y")]
    with pytest.raises(ValueError, match=r"label of 'c'.*got z"):
        ClassCorpus.build(train, [Example("c", "z")])
    with pytest.raises(ValueError, match="at least two"):
        ClassCorpus.build(train[:1])


@pytest.mark.parametrize("header", ["", "4 3\n"])
def test_word_vectors(tmp_path: Path, header: str) -> None:
    vocabulary = Vocabulary.build("the cat sat", level="word")
    path = write(tmp_path / "v.txt.gz", header + "cat 1 2 3\nthe 0.5 -1 1e-2\ndog 9 9 9\ncat 7 7 7\n")
    vectors = load_vectors(path, vocabulary, 3)
    assert vectors.rows[vocabulary.tokens.index("cat")].tolist() == [1, 2, 3], "the first counts"
    assert sorted(token for token, there in zip(vocabulary.tokens, vectors.found, strict=True) if there) == [
        "cat",
        "the",
    ]
    with pytest.raises(ValueError, match=r"v\.txt\.gz line . ?: expected a word and 4 numbers|line \d+: expected"):
        load_vectors(path, vocabulary, 4)
    broken = write(tmp_path / "b.txt", "the 1 2 3\ncat 1 x 3\n")
    with pytest.raises(ValueError, match=r"b\.txt line 2"):
        load_vectors(broken, vocabulary, 3)
    rest = load_vectors(broken, vocabulary, 3, on_error="skip")
    assert (rest.found.sum(), rest.skipped) == (1, 1)
