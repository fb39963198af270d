"""Training data: texts, vocabularies, streams, sentences; labelled and tagged texts; series, music, speech."""

from rnncore.data.acoustic import AcousticFeatures
from rnncore.data.audio import Speech, Utterance, labels_of, read_speech, read_wav
from rnncore.data.batches import IGNORE, Chunk, SentenceBatch, Sentences, Streams
from rnncore.data.captions import CaptionCorpus, Captioned, CaptionSource, read_captions
from rnncore.data.corpus import TextCorpus, tinyshakespeare
from rnncore.data.disk import is_prepared, open_corpus, prepare
from rnncore.data.label_corpora import ClassCorpus, TagCorpus
from rnncore.data.label_sources import ClassSource, TagSource
from rnncore.data.labelled import Example, Examples, read_examples
from rnncore.data.music import Music, piece_of, read_music, roll_of
from rnncore.data.pairs import Pair, PairCorpus, Pairs, PairSource, build_vocabulary, read_pairs
from rnncore.data.pictures import digits8x8
from rnncore.data.prefetch import Prefetcher
from rnncore.data.series import Series, airline_passengers, parse_series, read_series
from rnncore.data.source import TextSource
from rnncore.data.splits import bucketed, padding, stratified_folds, stratified_split
from rnncore.data.subwords import Subwords, TextVocabulary, TokenLevel, vocabulary_from_json
from rnncore.data.tagged import Sentence, TaggedSentences, is_bio, read_sentences
from rnncore.data.text import decode_utf8, read_bytes, read_text
from rnncore.data.vectors import Vectors, load_vectors
from rnncore.data.vocabulary import END_OF_SEQUENCE, UNKNOWN, Vocabulary, words_of

__all__ = [
    "END_OF_SEQUENCE",
    "IGNORE",
    "UNKNOWN",
    "AcousticFeatures",
    "CaptionCorpus",
    "CaptionSource",
    "Captioned",
    "Chunk",
    "ClassCorpus",
    "ClassSource",
    "Example",
    "Examples",
    "Music",
    "Pair",
    "PairCorpus",
    "PairSource",
    "Pairs",
    "Prefetcher",
    "Sentence",
    "SentenceBatch",
    "Sentences",
    "Series",
    "Speech",
    "Streams",
    "Subwords",
    "TagCorpus",
    "TagSource",
    "TaggedSentences",
    "TextCorpus",
    "TextSource",
    "TextVocabulary",
    "TokenLevel",
    "Utterance",
    "Vectors",
    "Vocabulary",
    "airline_passengers",
    "bucketed",
    "build_vocabulary",
    "decode_utf8",
    "digits8x8",
    "is_bio",
    "is_prepared",
    "labels_of",
    "load_vectors",
    "open_corpus",
    "padding",
    "parse_series",
    "piece_of",
    "prepare",
    "read_bytes",
    "read_captions",
    "read_examples",
    "read_music",
    "read_pairs",
    "read_sentences",
    "read_series",
    "read_speech",
    "read_text",
    "read_wav",
    "roll_of",
    "stratified_folds",
    "stratified_split",
    "tinyshakespeare",
    "vocabulary_from_json",
    "words_of",
]
