"""`Monitor`: a training callback that looks inside the model now and then and writes what it sees to the run's log."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message, positive
from rnncore.data import Streams
from rnncore.inspect.dynamics import recurrent_spectra
from rnncore.inspect.health import dead_units, gate_use, update_ratio, weights_of
from rnncore.inspect.watch import WatchedLayer, watched
from rnncore.models import LanguageModel
from rnncore.train import Callback, Trainer
from rnncore.train.callbacks import Record
from rnncore.train.language_model import LanguageModelTask

Array = NDArray[Any]

_EXACT_UNTIL = 64  # units; above, spectra come from powers: eigenvalues of 512 units take half a second


class Monitor(Callback):
    """Every so many updates one line ``{"event": "inspect", ...}`` in the log, and after each epoch a sample.

    The numbers of a line, by layer ("rnn.l0"): ``lag``: mean over the rows of ||dL_t/dh_(t-k)|| for k = 0.., t the last
    step of a piece of the training text (a language model's; `lag_c` the same for c); for other models ``flow``: mean
    ||dL/dh_t|| for t = 0.., L the loss of the batch; ``gates``: histogram, and the shares of saturated values; ``dead``
    units; ``spectra``: by gate the spectral radius and norm of the recurrent weights; ``updates``: by parameter the
    ratio of the last update to the weights. What could not be looked at is said in ``missing``. Between whole looks
    `norms_every` gives lines with the norms alone (``lag``, ``lag_c`` or ``flow``) at a fifth of the cost. Training
    goes on bit for bit as without it.

    Args:
        every: updates between two looks; None: never, the norms alone. Default: 100.
        norms_every: updates between two lines of norms, where no whole look is due. Default: none.
        rows: streams of a language model that are read for it. Default: 8.
        sample: tokens that a language model with a vocabulary writes after each epoch; 0: none. Default: 200.

    Example:
        >>> from rnncore.data import TextCorpus
        >>> from rnncore.train import TrainConfig
        >>> corpus = TextCorpus.from_text("to be or not to be, that is the question. " * 40)
        >>> model = LanguageModel(vocabulary=corpus.vocabulary, hidden_size=8, num_layers=1)
        >>> config = TrainConfig(epochs=1, batch=4, bptt=16)
        >>> trainer = Trainer(model, corpus, config, callbacks=[Monitor(10)])
        >>> _ = trainer.fit()
        >>> [record["event"] for record in trainer.history]
        ['step', 'inspect', 'step', 'inspect', 'step', 'epoch', 'sample']
    """

    def __init__(
        self, every: int | None = 100, *, norms_every: int | None = None, rows: int = 8, sample: int = 200
    ) -> None:
        if every is None and norms_every is None:
            raise ValueError(message("monitor", "every, norms_every", "at least one of them", "neither"))
        self.every = None if every is None else positive("monitor", "every", every)
        self.norms_every = None if norms_every is None else positive("monitor", "norms_every", norms_every)
        self.rows = positive("monitor", "rows", rows)
        if sample < 0:
            raise ValueError(message("monitor", "sample", "0 or more", str(sample)))
        self.sample = sample
        self._before: dict[str, Array] | None = None

    def on_start(self, trainer: Trainer) -> None:
        """See `Callback`."""
        self._remember(trainer)

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        """Look, if it is time."""
        step = trainer.progress.step
        whole = _due(step, self.every)
        if whole or _due(step, self.norms_every):
            start = time.perf_counter()
            record: Record = {"event": "inspect", "step": step, "epoch": trainer.progress.epoch + 1}
            record |= self.look(trainer) if whole else self.norms(trainer)
            record["seconds"] = time.perf_counter() - start
            trainer.write(record)
        self._remember(trainer)

    def on_epoch(self, trainer: Trainer, record: Record) -> None:
        """Let a language model write."""
        model = trainer.model
        if not self.sample or not isinstance(model, LanguageModel) or model.vocabulary is None:
            return
        from rnncore.generate import SamplingOptions, generate

        prompt = "" if model.vocabulary.end_id is not None else model.vocabulary.decode([0])
        options = SamplingOptions(temperature=0.8)
        [written] = generate(model, prompt, length=self.sample, options=options, seed=record["epoch"])
        facts = {"event": "sample", "step": record["step"], "epoch": record["epoch"]}
        trainer.write({**facts, "temperature": 0.8, "text": written.text})

    def look(self, trainer: Trainer) -> Record:
        """The numbers of one line, of the model as it is."""
        model = trainer.model
        record = self._watched(trainer, states=True)
        hidden = max((p.shape[-1] for name, p in model.named_parameters() if "weight_hh" in name), default=0)
        spectra: dict[str, dict[str, list[float | None]]] = {}
        try:
            for one in recurrent_spectra(model, exact=hidden <= _EXACT_UNTIL):
                spectra.setdefault(one.layer, {})[one.gate] = _short([one.radius, one.norm])
        except ValueError as error:  # weights that are not finite: the trainer says so at the next update
            record["missing"] = str(error)
        record["spectra"] = spectra
        if self._before is not None:
            after = weights_of(model)
            ratios = {name: update_ratio(self._before[name], value) for name, value in after.items()}
            record["updates"] = {name: _short([ratio])[0] for name, ratio in ratios.items()}
        return record

    def norms(self, trainer: Trainer) -> Record:
        """The gradient norms alone."""
        return self._watched(trainer, states=False)

    def _watched(self, trainer: Trainer, *, states: bool) -> Record:
        """What a forward and a backward pass show: gradients, and with `states` gates and dead units."""
        record: Record = {}
        try:
            with watched(trainer.model) as watch:
                is_text = isinstance(trainer.task, LanguageModelTask)
                (self._lags if is_text else self._flow)(trainer, watch, record)
                if states:
                    _add_states(watch.layers, record)
        except ValueError as error:
            record["missing"] = str(error)
        return record

    def _remember(self, trainer: Trainer) -> None:
        """Before an update after which a whole look is due: the parameters, to see how far it moves them."""
        due = _due(trainer.progress.step + 1, self.every)
        self._before = weights_of(trainer.model) if due else None

    def _lags(self, trainer: Trainer, watch: Any, record: Record) -> None:
        model: Any = trainer.model
        task: Any = trainer.task
        tokens = task.corpus.train
        steps = min(trainer.config.window, len(tokens) - 1)
        rows = max(min(self.rows, (len(tokens) - 1) // steps), 1)
        streams = Streams(tokens, batch=rows, bptt=steps)
        between = min(each for each in (self.every, self.norms_every) if each is not None)
        piece = streams.chunk(trainer.progress.step // between % len(streams))
        features, _ = model.features(piece.inputs)
        loss = model.head_loss(features[-1:], piece.targets[-1:], reduction="sum")
        loss.backward()
        record["lag"] = {layer.name: _short(_means(layer.dh)[::-1]) for layer in watch.layers}
        with_c = [(layer.name, layer.dc) for layer in watch.layers if layer.dc is not None]
        if with_c:
            record["lag_c"] = {name: _short(_means(dc)[::-1]) for name, dc in with_c}

    def _flow(self, trainer: Trainer, watch: Any, record: Record) -> None:
        progress = trainer.progress
        loss, _, _ = trainer.feed.loss(trainer.model, progress.epoch, progress.chunk - 1, None)
        loss.backward()
        record["flow"] = {layer.name: _short(_means(layer.dh)) for layer in watch.layers}


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _add_states(layers: list[WatchedLayer], record: Record) -> None:
    gates: dict[str, dict[str, Any]] = {}
    for layer in layers:
        if layer.has_gates:
            gates[layer.name] = {
                use.gate: {
                    "counts": use.counts.tolist(),
                    "left": _short([use.left.mean()])[0],
                    "right": _short([use.right.mean()])[0],
                }
                for use in gate_use(layer)
            }
    if gates:
        record["gates"] = gates
    record["dead"] = {layer.name: [len(dead_units(layer)), layer.h.shape[2]] for layer in layers}


def _means(gradient: Array) -> Array:
    """(T,): the mean over the rows of the norms over the units."""
    return np.asarray(np.linalg.norm(gradient, axis=2).mean(axis=1))


def _short(values: Any) -> list[float | None]:
    """Five digits are enough for a log; what is not finite has none."""
    return [float(f"{value:.4e}") if np.isfinite(value) else None for value in values]
