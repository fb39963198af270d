"""Text as training data: vocabularies, corpora, streams and sentence batches."""

from rnncore.data.batches import IGNORE, Chunk, SentenceBatch, Sentences, Streams
from rnncore.data.corpus import TextCorpus, tinyshakespeare
from rnncore.data.prefetch import Prefetcher
from rnncore.data.source import TextSource
from rnncore.data.text import decode_utf8, read_bytes, read_text
from rnncore.data.vocabulary import END_OF_SEQUENCE, UNKNOWN, Vocabulary, words_of

__all__ = [
    "END_OF_SEQUENCE",
    "IGNORE",
    "UNKNOWN",
    "Chunk",
    "Prefetcher",
    "SentenceBatch",
    "Sentences",
    "Streams",
    "TextCorpus",
    "TextSource",
    "Vocabulary",
    "decode_utf8",
    "read_bytes",
    "read_text",
    "tinyshakespeare",
    "words_of",
]
