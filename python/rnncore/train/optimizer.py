"""The optimiser and the learning-rate schedule of a configuration."""

from __future__ import annotations

from rnncore import optim
from rnncore.nn import Module
from rnncore.optim import schedules
from rnncore.train.config import TrainConfig


def make_optimizer(config: TrainConfig, model: Module) -> optim.Optimizer:
    """The optimiser that the configuration names, over all parameters (tied ones once)."""
    parameters = model.named_parameters()
    lr, momentum, decay = config.lr, config.momentum, config.weight_decay
    if config.optimizer == "sgd":
        return optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay)
    if config.optimizer == "rmsprop":
        return optim.RMSprop(parameters, lr=lr, momentum=momentum, weight_decay=decay)
    if config.optimizer == "nt-asgd":
        return optim.NTASGD(parameters, lr=lr, weight_decay=decay, nonmono=config.nonmono)
    if config.optimizer == "asgd":
        return optim.ASGD(parameters, lr=lr, weight_decay=decay)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    return kind(parameters, lr=lr, weight_decay=decay)


def make_schedule(
    config: TrainConfig, optimizer: optim.Optimizer, *, steps_per_epoch: int, total_steps: int | None
) -> schedules.Schedule:
    """The schedule that the configuration names. It is stepped after each update, "plateau" after each validation.

    "step" multiplies the rate by `decay` every `decay_every` epochs, "exponential" does so smoothly; both begin after
    `decay_after` epochs. "cosine" falls to zero at the end of the run. All but "plateau" may warm up first.
    """
    if config.schedule == "plateau":
        return schedules.ReduceOnPlateau(optimizer, factor=config.decay, patience=config.plateau_patience)
    schedule: schedules.Schedule = schedules.Constant(optimizer)
    span = steps_per_epoch * config.decay_every
    if config.schedule == "step":
        schedule = schedules.Step(optimizer, span, gamma=config.decay)
    elif config.schedule == "exponential":
        schedule = schedules.Exponential(optimizer, gamma=config.decay ** (1 / span))
    elif config.schedule == "cosine":
        schedule = schedules.Cosine(optimizer, max((total_steps or 0) - config.warmup_steps, 1))
    if config.decay_after and config.schedule in ("step", "exponential"):
        milestone = max(config.decay_after * steps_per_epoch - config.warmup_steps, 1)
        schedule = schedules.Chain([schedules.Constant(optimizer), schedule], [milestone])
    return schedules.WarmUp(schedule, config.warmup_steps) if config.warmup_steps else schedule
