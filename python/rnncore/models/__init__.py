"""Whole models, ready to train, score, sample and save."""

from rnncore.models.base import Model
from rnncore.models.baselines import LinearForecast, SeasonalNaive, repeat_last
from rnncore.models.captioner import Captioner
from rnncore.models.classifier import Classifier
from rnncore.models.features import FeatureModel
from rnncore.models.files import load
from rnncore.models.forecaster import Forecaster
from rnncore.models.language_model import LanguageModel
from rnncore.models.music import PolyphonicMusic
from rnncore.models.seq2seq import Seq2Seq
from rnncore.models.tagger import Tagger
from rnncore.models.transcriber import Transcriber

__all__ = [
    "Captioner",
    "Classifier",
    "FeatureModel",
    "Forecaster",
    "LanguageModel",
    "LinearForecast",
    "Model",
    "PolyphonicMusic",
    "SeasonalNaive",
    "Seq2Seq",
    "Tagger",
    "Transcriber",
    "load",
    "repeat_last",
]
