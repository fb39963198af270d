"""Keras models, and what Keras computes with them: tests/golden/keras/NAME.keras (or .h5) and NAME.safetensors.

    KERAS_BACKEND=torch python tests/golden/make_keras_golden.py

needs keras, torch, h5py and safetensors. `tests/python/test_convert_keras.py` builds the same models live where Keras
is installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")
FOLDER = Path(__file__).parent / "keras"
T, F, V = 7, 3, 11


def _layers() -> Any:
    import keras

    return keras.layers


def _ids(rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """Sequences with padding at the end, at the beginning, in the middle and everywhere."""
    ids = rng.integers(1, V, (5, T))
    ids[0, 4:] = 0
    ids[1, :3] = 0
    ids[2, [1, 4, 6]] = 0
    ids[3] = 0
    return [ids]


def _features(rng: np.random.Generator, count: int = 1) -> list[np.ndarray[Any, Any]]:
    return [rng.standard_normal((4, T, F)).astype(np.float32) for _ in range(count)]


def _masked_features(rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    (x,) = _features(rng)
    x[0, 5:] = -1.0
    x[1, 2] = -1.0
    x[2] = -1.0
    x[3, 1, 0] = -1.0  # one feature alone masks nothing
    return [x]


def _sequential(*layers: Any, shape: tuple[int | None, ...] = (None, F)) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def simple() -> Any:
    L = _layers()  # noqa: N806
    return _sequential(L.SimpleRNN(5, return_sequences=True), L.SimpleRNN(4, activation="relu", use_bias=False))


def lstm() -> Any:
    L = _layers()  # noqa: N806
    return _sequential(L.LSTM(5, return_sequences=True, dropout=0.2), L.Dropout(0.3), L.LSTM(4, go_backwards=True))


def gru() -> Any:
    L = _layers()  # noqa: N806
    first = L.GRU(5, return_sequences=True, go_backwards=True)
    return _sequential(first, L.GRU(4, reset_after=False, return_sequences=True), L.GRU(3, use_bias=False))


def tagger() -> Any:
    L = _layers()  # noqa: N806
    both = L.Bidirectional(L.LSTM(5, return_sequences=True))
    dense = L.TimeDistributed(L.Dense(6, activation="softmax"))
    return _sequential(L.Embedding(V, 4, mask_zero=True), both, L.LayerNormalization(), dense, shape=(None,))


def classifier() -> Any:
    L = _layers()  # noqa: N806
    first = L.Bidirectional(L.GRU(5, return_sequences=True), merge_mode="sum")
    second = L.Bidirectional(L.SimpleRNN(4), merge_mode="ave")
    dense = L.Dense(3, activation="log_softmax")
    return _sequential(L.Embedding(V, 4, mask_zero=True), first, second, L.Activation("elu"), dense, shape=(None,))


def masked() -> Any:
    L = _layers()  # noqa: N806
    return _sequential(
        L.Masking(-1.0),
        L.LSTM(5, return_sequences=True),
        L.GRU(4, return_sequences=True, go_backwards=True, zero_output_for_mask=True),
        L.LayerNormalization(scale=False, epsilon=1e-2),
        L.LayerNormalization(center=False),
        L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="mul"),
    )


def functional() -> Any:
    import keras

    L = keras.layers  # noqa: N806
    a, b = keras.Input((None, F), name="first"), keras.Input((None, F), name="second")
    shared = L.Dense(4, activation="tanh")
    encoded, h, c = L.LSTM(5, return_sequences=True, return_state=True)(shared(a))
    decoded = L.LSTM(5, return_sequences=True)(shared(b), initial_state=[h, c])
    joined = L.Concatenate()([encoded, decoded])
    total = L.Add()([encoded, decoded])
    mean = L.Average()([L.Multiply()([encoded, total]), decoded])
    both, fh, bh = L.Bidirectional(L.GRU(3, return_state=True))(joined)
    return keras.Model([a, b], [L.Dense(2)(joined), mean, both, L.Concatenate()([fh, bh])])


def activations() -> Any:
    L = _layers()  # noqa: N806
    names = ("softplus", "softsign", "exponential", "hard_sigmoid", "sigmoid", "leaky_relu", "relu", "linear")
    return _sequential(*(L.Dense(4, activation=name) for name in names), L.ReLU(), L.Softmax())


def cell_activations() -> Any:
    L = _layers()  # noqa: N806
    return _sequential(
        L.LSTM(5, activation="softsign", recurrent_activation="hard_sigmoid", return_sequences=True),
        L.GRU(5, activation="elu", recurrent_activation="hard_sigmoid", return_sequences=True),
        L.SimpleRNN(5, activation="leaky_relu", return_sequences=True),
        L.SimpleRNN(5, activation="sigmoid", return_sequences=True),
        L.LSTM(4, activation="linear", recurrent_activation="softsign"),
    )


CASES: dict[str, tuple[Callable[[], Any], Callable[..., list[np.ndarray[Any, Any]]]]] = {
    "simple": (simple, _features),
    "lstm": (lstm, _features),
    "gru": (gru, _features),
    "tagger": (tagger, _ids),
    "classifier": (classifier, _ids),
    "masked": (masked, _masked_features),
    "functional": (functional, lambda rng: _features(rng, 2)),
    "activations": (activations, _features),
    "cell_activations": (cell_activations, _features),
}


def make(name: str) -> tuple[Any, list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """A model with weights that are all drawn (biases too), its inputs, and what Keras computes."""
    build, draw = CASES[name]
    rng = np.random.default_rng(len(name))
    model = build()
    model.set_weights([rng.uniform(-0.8, 0.8, weight.shape).astype(np.float32) for weight in model.get_weights()])
    inputs = draw(rng)
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    results = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return model, inputs, [result.detach().cpu().numpy() for result in results]


def main() -> None:
    """Writes every case."""
    from safetensors.numpy import save_file

    FOLDER.mkdir(exist_ok=True)
    for name in CASES:
        model, inputs, outputs = make(name)
        model.save(FOLDER / f"{name}{'.h5' if name in ('tagger', 'functional') else '.keras'}")
        arrays = {f"input.{i}": value for i, value in enumerate(inputs)}
        arrays.update({f"output.{i}": np.ascontiguousarray(value) for i, value in enumerate(outputs)})
        save_file(arrays, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    main()
