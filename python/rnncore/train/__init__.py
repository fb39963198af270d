"""Training: the loop, its configuration, checkpoints, the log."""

from rnncore.train.batch_feed import BatchFeed
from rnncore.train.callbacks import Callback, KeepBest, TensorBoard
from rnncore.train.checkpoint import Checkpoint
from rnncore.train.config import OPTIMIZERS, SCHEDULES, TrainConfig
from rnncore.train.divergence import TrainingDivergedError
from rnncore.train.log import JsonLinesLog, read_log
from rnncore.train.optimizer import make_optimizer, make_schedule
from rnncore.train.progress import Progress
from rnncore.train.run import RunFolder
from rnncore.train.task import Feed, Objective, Task
from rnncore.train.trainer import Trainer, TrainResult

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "BatchFeed",
    "Callback",
    "Checkpoint",
    "Feed",
    "JsonLinesLog",
    "KeepBest",
    "Objective",
    "Progress",
    "RunFolder",
    "Task",
    "TensorBoard",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "TrainingDivergedError",
    "make_optimizer",
    "make_schedule",
    "read_log",
]
