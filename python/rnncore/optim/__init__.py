"""Optimisers with torch.optim's names and meanings, and learning-rate schedules (`optim.schedules`)."""

from rnncore.optim import schedules
from rnncore.optim.averaging import NTASGD
from rnncore.optim.optimizers import ASGD, SGD, Adam, AdamW, Optimizer, RMSprop

__all__ = ["ASGD", "NTASGD", "SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "schedules"]
