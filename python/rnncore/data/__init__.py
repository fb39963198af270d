"""Training data: text (vocabularies, corpora, streams, sentence batches), series of numbers, music, speech."""

from rnncore.data.acoustic import AcousticFeatures
from rnncore.data.audio import Speech, Utterance, labels_of, read_speech, read_wav
from rnncore.data.batches import IGNORE, Chunk, SentenceBatch, Sentences, Streams
from rnncore.data.corpus import TextCorpus, tinyshakespeare
from rnncore.data.music import Music, piece_of, read_music, roll_of
from rnncore.data.prefetch import Prefetcher
from rnncore.data.series import Series, airline_passengers, parse_series, read_series
from rnncore.data.source import TextSource
from rnncore.data.text import decode_utf8, read_bytes, read_text
from rnncore.data.vocabulary import END_OF_SEQUENCE, UNKNOWN, Vocabulary, words_of

__all__ = [
    "END_OF_SEQUENCE",
    "IGNORE",
    "UNKNOWN",
    "AcousticFeatures",
    "Chunk",
    "Music",
    "Prefetcher",
    "SentenceBatch",
    "Sentences",
    "Series",
    "Speech",
    "Streams",
    "TextCorpus",
    "TextSource",
    "Utterance",
    "Vocabulary",
    "airline_passengers",
    "decode_utf8",
    "labels_of",
    "parse_series",
    "piece_of",
    "read_bytes",
    "read_music",
    "read_series",
    "read_speech",
    "read_text",
    "read_wav",
    "roll_of",
    "tinyshakespeare",
    "words_of",
]
