"""TrainConfig: everything that decides how a run goes, apart from the model and the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rnncore._messages import message

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "asgd", "nt-asgd")
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")
BATCHINGS = ("streams", "sentences")
REDUCTIONS = ("tokens", "streams")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: passes over the training text; default 10 where neither `steps` nor `minutes` is given.
        steps: stop after this many updates; default: no limit.
        minutes: stop after this much training time, validations included; default: no limit. The first limit ends it.
        batching: "streams" (contiguous, the state carried; default) or "sentences" (padded lines, shuffled).
        batch: N, parallel streams or sentences; default 50.
        bptt: k1, new steps per update; default 50. For sentences: their largest length (longer ones are cut).
        bptt_back: k2 >= k1, how many steps the gradient goes back: TBPTT(k1, k2); default: k1.
        reduction: what the gradient is of. "tokens" (default): the mean loss of a token (of an item, for other kinds).
            "streams": the loss summed over the steps and averaged over the batch (Zaremba et al. 2014), so rate and
            clipping apply to numbers that are `bptt` times as large. The loss that is reported is always the mean.
        vary_bptt: chunks of varying length (Merity et al. 2018, section 4): N(bptt, 25), with probability 0.05
            N(bptt / 2, 25); the rate is scaled by length / bptt. Streams alone, bptt of at least 10; default False.
        optimizer: "sgd", "adam", "adamw", "rmsprop", "asgd" or "nt-asgd" (`optim.NTASGD`, which hears of the
            validation after each whole epoch and is validated and saved with its averages); default "adam".
        nonmono: of "nt-asgd": validations without improvement before averaging begins; default 5.
        lr: learning rate; default 0.002.
        momentum, weight_decay: of the optimiser (momentum: of "sgd" and "rmsprop"); default 0.
        clip_norm: scale the gradients so that their global norm is at most this; 0: off; default 5.
        clip_value: clamp every gradient element first; 0 (default): off.
        schedule: "constant", "step", "exponential", "cosine" or "plateau"; see `train.make_schedule`.
        warmup_steps: the rate grows linearly over these updates; default 0.
        decay: the factor of "step", "exponential" and "plateau"; default 0.5.
        decay_every: epochs between the decays of "step" and "exponential"; default 1.
        decay_after: epochs at the full rate before them; default 0.
        patience: stop after this many validations without improvement; default: never. For "plateau": decay after
            `plateau_patience` validations without improvement (default 0: at once).
        eval_batch: streams read in parallel when validating; default 10 (1 is the exact chain rule, but slower).
        seed: of the order of sentences and of `vary_bptt`'s lengths; the model has its own generator.
        log_every: updates between two lines of the log; default 10.
        checkpoint_seconds: a checkpoint at least this often (and after each epoch); default 60.
        checkpoint_steps: a checkpoint every so many updates; default: by time alone.
        inspect_every: on the command line: `inspect.Monitor` looks inside every so many updates; default: never.
        inspect_norms: the same for the gradient norms alone.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batching: str = "streams"
    batch: int = 50
    bptt: int = 50
    bptt_back: int | None = None
    reduction: str = "tokens"
    vary_bptt: bool = False
    optimizer: str = "adam"
    lr: float = 2e-3
    nonmono: int = 5
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 5.0
    clip_value: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    decay: float = 0.5
    decay_every: int = 1
    decay_after: int = 0
    patience: int | None = None
    plateau_patience: int = 0
    eval_batch: int = 10
    seed: int = 0
    log_every: int = 10
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    inspect_every: int | None = None
    inspect_norms: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None and self.minutes is None:
            object.__setattr__(self, "epochs", 10)
        for name in ("batch", "bptt", "nonmono", "decay_every", "eval_batch", "log_every"):
            self._at_least(name, 1)
        for name in ("epochs", "steps", "patience", "checkpoint_steps", "inspect_every", "inspect_norms"):
            if getattr(self, name) is not None:
                self._at_least(name, 1)
        for name in ("warmup_steps", "decay_after", "plateau_patience", "seed"):
            self._at_least(name, 0)
        for name in ("momentum", "weight_decay", "clip_norm", "clip_value", "checkpoint_seconds"):
            self._at_least(name, 0)
        if not (math.isfinite(self.lr) and self.lr > 0):
            self._refuse("lr", "a positive number", self.lr)
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            self._refuse("minutes", "a positive number", self.minutes)
        if self.schedule == "cosine" and self.epochs is None and self.steps is None:
            self._refuse("schedule", "epochs or steps beside cosine, which ends with them", "minutes alone")
        if not 0 < self.decay <= 1:
            self._refuse("decay", "a factor in (0, 1]", self.decay)
        named = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "batching": BATCHINGS, "reduction": REDUCTIONS}
        for name, known in named.items():
            if getattr(self, name) not in known:
                self._refuse(name, " | ".join(known), repr(getattr(self, name)))
        if self.schedule == "plateau" and (self.decay == 1 or self.warmup_steps):
            self._refuse("schedule", "a decay below 1 and no warm-up for plateau", f"{self.decay}, {self.warmup_steps}")
        if self.bptt_back is not None and self.bptt_back < self.bptt:
            self._refuse("bptt_back", f"k2 >= k1 = {self.bptt}", self.bptt_back)
        if self.vary_bptt and (self.batching != "streams" or self.window != self.bptt or self.bptt < 10):
            got = f"{self.batching}, {self.bptt}, {self.window}"
            self._refuse("vary_bptt", "streams, bptt of at least 10 and no bptt_back beside it", got)

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int | float) or not math.isfinite(value) or value < least:
            self._refuse(name, f"at least {least}", value)

    @staticmethod
    def _refuse(name: str, expected: str, got: object) -> None:
        raise ValueError(message("train", name, expected, str(got)))

    @property
    def window(self) -> int:
        """k2: the steps that one gradient spans."""
        return self.bptt if self.bptt_back is None else self.bptt_back

    def loss_scale(self, items: int) -> float:
        """What the mean loss of so many items is multiplied by before going back; see `reduction`."""
        return items / self.batch if self.reduction == "streams" else 1.0

    def rate_scale(self, items: int) -> float:
        """What the learning rate of an update over so many items is multiplied by; see `vary_bptt`."""
        return items / (self.batch * self.bptt) if self.vary_bptt else 1.0

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainConfig:
        """Rebuild what `to_json` gave; names that are missing get their default.

        Raises:
            ValueError: unknown names or bad values.
        """
        unknown = set(value) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(message("train", "configuration", "known names", ", ".join(sorted(unknown))))
        return cls(**value)
