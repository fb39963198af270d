"""What a trainer writes into its run folder; nothing that is not finite is ever saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncore.train.checkpoint import Checkpoint
from rnncore.train.divergence import first_not_finite
from rnncore.train.environment import environment, operations_per_item

if TYPE_CHECKING:
    from rnncore.train.run import RunFolder
    from rnncore.train.trainer import Trainer


def save_model(trainer: Trainer, run: RunFolder) -> None:
    """Write the model as it is to ``model.safetensors``.

    Its facts hold no times, so that equal runs write equal files.
    """
    model, progress = trainer.model, trainer.progress
    bad = first_not_finite(model.state_dict())
    if bad is not None:
        trainer.diverged("a parameter is not finite", bad)
    model.training_facts = {
        "steps": progress.step,
        "epochs": progress.epoch,
        f"valid_{trainer.task.objective.name}": progress.best_valid,
        "train": trainer.config.to_json(),
        "source": _source(trainer),
    }
    model.save(run.model)


def save_checkpoint(trainer: Trainer, run: RunFolder, log_bytes: int) -> None:
    """Write ``checkpoint.safetensors``; `log_bytes`: the length of the log that belongs to it."""
    model = trainer.model
    optimizer = trainer.optimizer.state_dict()
    slots = optimizer.pop("state")
    state = {f"carried state {index}": tensor for index, tensor in enumerate(trainer.state or ())}
    bad = first_not_finite({**model.state_dict(), **slots, **state})
    if bad is not None:
        trainer.diverged("a value to be saved is not finite", bad)
    Checkpoint(
        task=model.kind,
        model=model.to_dict(),
        assets=model.assets(),
        train=trainer.config,
        source=trainer.task.source,
        fingerprint=trainer.task.fingerprint,
        progress=trainer.progress,
        generator=model.generator.get_state(),
        optimizer=optimizer,
        schedule=trainer.schedule.state_dict(),
        log_bytes=log_bytes,
        parameters=dict(model.state_dict()),
        slots=slots,
        state=trainer.state,
    ).save(run.checkpoint)


def describe_run(trainer: Trainer) -> dict[str, Any]:
    """All options of a run, for ``config.json``."""
    return {
        "task": trainer.task.kind,
        "model": trainer.model.to_dict(),
        "train": trainer.config.to_json(),
        "source": _source(trainer),
        "environment": environment(),
        "operations_per_item": operations_per_item(trainer),
    }


def _source(trainer: Trainer) -> dict[str, Any] | None:
    source = trainer.task.source
    return None if source is None else source.to_json()
