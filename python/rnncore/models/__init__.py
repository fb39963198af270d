"""Whole models, ready to train, score, sample and save."""

from rnncore.models.language_model import LanguageModel

__all__ = ["LanguageModel"]
