"""Whole models, ready to train, score, sample and save."""

from rnncore.models.base import Model
from rnncore.models.files import load
from rnncore.models.language_model import LanguageModel

__all__ = ["LanguageModel", "Model", "load"]
