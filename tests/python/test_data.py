"""Vocabularies, corpora, streams and sentence batches: no engine needed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncore.data import (
    IGNORE,
    Sentences,
    Streams,
    TextCorpus,
    Vocabulary,
    open_corpus,
    prepare,
    tinyshakespeare,
    words_of,
)


def test_character_vocabulary_is_sorted_by_code_point() -> None:
    vocabulary = Vocabulary.build("hällo€😀", level="char")
    assert vocabulary.tokens == tuple(sorted(set("hällo€😀")))
    assert vocabulary.unknown is None
    assert vocabulary.encode("😀€h").tolist() == [vocabulary.tokens.index(c) for c in "😀€h"]


@given(st.text(min_size=1))
def test_characters_round_trip(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    vocabulary = Vocabulary.build(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@given(st.binary(min_size=1))
def test_bytes_round_trip(data: bytes) -> None:
    vocabulary = Vocabulary("byte", ())
    assert bytes(vocabulary.encode(data)) == data
    assert len(vocabulary) == 256


def test_byte_level_decodes_utf8() -> None:
    vocabulary = Vocabulary("byte", ())
    assert vocabulary.decode(vocabulary.encode("né")) == "né"
    assert vocabulary.decode([0xC3]) == "\ufffd"


def test_words_are_ordered_by_frequency_with_one_eos_a_line() -> None:
    text = "the cat\nthe dog the\n\nrat"
    assert words_of(text).count("<eos>") == 4
    vocabulary = Vocabulary.build(text, level="word")
    assert vocabulary.tokens == ("<unk>", "<eos>", "the", "cat", "dog", "rat")
    ids = vocabulary.encode("the bird\n")
    assert ids.tolist() == [2, 0, 1]
    assert vocabulary.decode(vocabulary.encode(text)) == "the cat\nthe dog the\n\nrat\n"
    assert vocabulary.encode("the cat", end_line=False).tolist() == [2, 3]


def test_vocabulary_limits() -> None:
    words = Vocabulary.build("a a a b b c\n" * 3, level="word", max_size=4)
    assert words.tokens == ("<unk>", "a", "b", "<eos>")
    rare = Vocabulary.build("a a b\n", level="word", min_count=2)
    assert rare.tokens == ("<unk>", "a", "<eos>")
    chars = Vocabulary.build("aaabbc", min_count=2)
    assert chars.tokens == ("<unk>", "a", "b")
    assert chars.encode("abcz").tolist() == [1, 2, 0, 0]
    assert len(Vocabulary.build("aaabbc", max_size=2)) == 2


def test_a_literal_unknown_token_is_the_unknown_token() -> None:
    vocabulary = Vocabulary.build("a <unk> b <unk>\n", level="word")
    assert vocabulary.tokens.count("<unk>") == 1
    assert vocabulary.encode("<unk> zebra", end_line=False).tolist() == [0, 0]


def test_unknown_character_is_named_with_its_place() -> None:
    vocabulary = Vocabulary.build("abc\n")
    with pytest.raises(ValueError, match=r"'é' \(U\+00E9\) at character 6 \(line 2, column 3\).*--min-count"):
        vocabulary.encode("abc\nabé")


def test_encoding_a_megabyte_is_fast() -> None:
    text = "To be, or not to be: that is the question.\n" * 25_000
    vocabulary = Vocabulary.build(text)
    best = min(_seconds(lambda: vocabulary.encode(text)) for _ in range(5))
    assert best < 0.5  # the goal is 0.02; a Python loop over the characters takes longer than this


def _seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


@pytest.mark.parametrize(
    "value",
    [
        {"level": "char", "tokens": ["a", "a"], "unknown": None},
        {"level": "char", "tokens": ["ab"], "unknown": None},
        {"level": "char", "tokens": [], "unknown": None},
        {"level": "char", "tokens": "abc", "unknown": None},
        {"level": "char", "tokens": ["a", 1], "unknown": None},
        {"level": "syllable", "tokens": ["a"], "unknown": None},
        {"level": "word", "tokens": ["a"], "unknown": "<unk>"},
        {"level": "byte", "tokens": ["a"], "unknown": None},
        {},
    ],
)
def test_a_foreign_vocabulary_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\[vocabulary\]"):
        Vocabulary.from_json(value)


def test_splits_are_the_contiguous_end() -> None:
    corpus = TextCorpus.from_text("abcdefghij" * 10, valid=0.2, test=0.1)
    decoded = [corpus.vocabulary.decode(corpus.part(name)) for name in ("train", "valid", "test")]
    assert [len(part) for part in decoded] == [70, 20, 10]
    assert "".join(decoded) == "abcdefghij" * 10


def test_words_are_split_between_lines() -> None:
    corpus = TextCorpus.from_text("one two three\n" * 10, level="word", valid=0.25)
    assert len(corpus.train) % 4 == 0
    assert len(corpus.train) + len(corpus.valid) == 40
    one_line = TextCorpus.from_text("alpha beta " * 20, level="word", valid=0.25)
    assert len(one_line.train)
    assert "<unk>" not in one_line.vocabulary.decode(one_line.valid)


def test_a_part_without_a_file_is_the_end_of_the_training_text(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("abcdefghij" * 10)
    (tmp_path / "other").write_text("jihg")
    tested = TextCorpus.from_files(tmp_path / "train", test=tmp_path / "other", valid_fraction=0.2)
    assert [len(tested.part(name)) for name in ("train", "valid", "test")] == [80, 20, 4]
    validated = TextCorpus.from_files(tmp_path / "train", tmp_path / "other", valid_fraction=0.2, test_fraction=0.1)
    assert [len(validated.part(name)) for name in ("train", "valid", "test")] == [90, 4, 10]
    prepare(tmp_path / "ids", tmp_path / "train", test=tmp_path / "other", valid_fraction=0.2)
    on_disk = open_corpus(tmp_path / "ids")
    for name in ("train", "valid", "test"):
        assert on_disk.part(name)[:].tolist() == tested.part(name).tolist()


def test_given_files_use_the_training_vocabulary(tmp_path: Path) -> None:
    for name, text in (("train", "abcab"), ("valid", "ab"), ("bad", "abx")):
        (tmp_path / name).write_text(text)
    corpus = TextCorpus.from_files(tmp_path / "train", tmp_path / "valid")
    assert corpus.valid.tolist() == [0, 1]
    assert len(corpus.test) == 0
    with pytest.raises(ValueError, match="'x'"):
        TextCorpus.from_files(tmp_path / "train", tmp_path / "bad")


def test_bundled_text() -> None:
    corpus = TextCorpus.from_files(tinyshakespeare())
    assert len(corpus.vocabulary) == 65
    assert len(corpus.train) + len(corpus.valid) == 1_115_394
    assert corpus.train.dtype == np.uint8


def test_fingerprint_follows_the_data() -> None:
    one, same, other = (TextCorpus.from_text(text * 20) for text in ("abc", "abc", "abd"))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_training_streams_are_contiguous_and_shifted_by_one() -> None:
    tokens = np.arange(100)
    streams = Streams(tokens, batch=3, bptt=8)
    assert len(streams) == 4
    inputs = np.concatenate([chunk.inputs for chunk in streams])
    targets = np.concatenate([chunk.targets for chunk in streams])
    assert inputs.shape == (32, 3)
    assert (np.diff(inputs, axis=0) == 1).all()
    assert (targets == inputs + 1).all()
    assert inputs[0].tolist() == [0, 33, 66]


@given(st.integers(2, 60), st.integers(1, 7), st.integers(1, 9))
def test_every_token_but_the_first_is_predicted_once(length: int, batch: int, bptt: int) -> None:
    streams = Streams(np.arange(length), batch=batch, bptt=bptt, every_token=True)
    targets = np.concatenate([chunk.targets.ravel() for chunk in streams])
    assert sorted(targets[targets != IGNORE].tolist()) == list(range(1, length))
    for chunk in streams:
        real = chunk.targets != IGNORE
        assert (chunk.targets[real] == chunk.inputs[real] + 1).all()


def test_too_short_a_text_says_how_many_tokens_are_needed() -> None:
    with pytest.raises(ValueError, match="at least 2501 tokens for one batch of 50 streams of 50 steps, got 10"):
        Streams(np.arange(10), batch=50, bptt=50)
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        Streams(np.arange(1), batch=1, bptt=50, every_token=True)


@pytest.mark.parametrize(("batch", "bptt"), [(0, 1), (-1, 1), (1, 0), (1, -5)])
def test_sizes_must_be_positive(batch: int, bptt: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Streams(np.arange(10), batch=batch, bptt=bptt)


def test_sentences_are_padded_and_start_with_the_end_token() -> None:
    sentences = Sentences(np.array([5, 6, 0, 7, 0, 8, 9, 5]), end_id=0, batch=2)
    assert len(sentences) == 2
    first, last = sentences
    assert first.lengths.tolist() == [3, 2]
    assert first.inputs.T.tolist() == [[0, 5, 6], [0, 7, 0]]
    assert first.targets.T.tolist() == [[5, 6, 0], [7, 0, IGNORE]]
    assert last.targets.T.tolist() == [[8, 9, 5]]
    assert first.tokens + last.tokens == 8


def test_sentence_order_depends_on_seed_and_epoch_alone() -> None:
    sentences = Sentences(np.arange(1, 50), end_id=0, batch=4, max_length=3)
    assert len(sentences.sentences) == 17
    assert (sentences.order(1, 2) == sentences.order(1, 2)).all()
    assert (sentences.order(1, 2) != sentences.order(1, 3)).any()
    assert sorted(sentences.order(1, 2).tolist()) == list(range(17))


def test_a_character_that_only_the_end_has_is_known_and_a_word_is_unknown() -> None:
    text = "ab ab ab ab ab ab ab\n" * 9 + "z\n"
    characters = TextCorpus.from_text(text, valid=0.1)
    assert "z" in characters.vocabulary.tokens
    words = TextCorpus.from_text(text, level="word", valid=0.1)
    assert "z" not in words.vocabulary.tokens
    assert words.vocabulary.unknown_id in words.valid
