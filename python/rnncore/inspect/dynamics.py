"""A recurrent layer as a dynamical system: step Jacobians, their spectra, Lyapunov exponents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Tensor, _core, enable_grad, nn
from rnncore._messages import message, positive
from rnncore.inspect.watch import WatchedLayer

Array = NDArray[Any]


def step_jacobian(layer: WatchedLayer, step: int, *, sequence: int = 0) -> Array:
    """D state_t / d state_(t-1) at a step of a watched call: exact, in float64, by one backward pass of the engine.

    The state is h, or (h, c) one after the other where the cell has c; h alone has R features, c has H. With delays the
    d_max - 1 states before h follow, latest first. For the RNN h_t = f(a_t) the Jacobian is diag(f'(a_t)) W_hh
    (Pascanu, Mikolov & Bengio 2013, equation 5). Where a unit stands still (`WatchedLayer.running`) it has a row of
    the identity; where a new sequence begins by `reset_mask` all is zero.

    Args:
        layer: of `watched`.
        step: t; where the layer reads backwards the state before it is that of t + 1.
        sequence: n, the row of the batch. Default: 0.

    Returns:
        (S, S), S = R or R + H, and R (d_max - 1) more with delays: row i, column j is d state_t[i] / d state_(t-1)[j].

    Raises:
        ValueError: a step or sequence that is not there, or a layer with delays and clockwork groups at once.
    """
    steps, rows = layer.h.shape[:2]
    for name, value, end in (("step", step, steps), ("sequence", sequence, rows)):
        if not 0 <= value < end:
            raise ValueError(message("step jacobian", name, f"within [0, {end})", str(value)))
    return _Stepper(layer, sequence).jacobian(step)


def state_jacobian(layer: WatchedLayer, first: int, last: int, *, sequence: int = 0) -> Array:
    """D state_last / d state_first: the exact product of the step Jacobians between two steps of a watched call.

    J_last J_(last-1) ... J_(first+1) (Pascanu, Mikolov & Bengio 2013, equation 5); the other way round where the layer
    reads backwards, so that `first` is the step that it reads first.

    Args:
        layer: of `watched`.
        first: a step.
        last: a later one in the layer's direction, or the same: the identity.
        sequence: the row of the batch. Default: 0.

    Returns:
        (S, S), as `step_jacobian`.

    Raises:
        ValueError: steps that are not there, or in the wrong order.
    """
    steps = layer.h.shape[0]
    ordered = first >= last if layer.reverse else first <= last
    if not (0 <= first < steps and 0 <= last < steps and ordered):
        expected = f"first and last within [0, {steps}), in the layer's direction"
        raise ValueError(message("state jacobian", "steps", expected, f"{first}, {last}"))
    stepper = _Stepper(layer, sequence)
    product = np.eye(stepper.size)
    for t in range(first - 1, last - 1, -1) if layer.reverse else range(first + 1, last + 1):
        product = stepper.jacobian(t) @ product
    return product


def lyapunov_exponents(layer: WatchedLayer, *, sequence: int = 0, count: int | None = None, skip: int = 0) -> Array:
    """Lyapunov exponents along a watched call, in nats a step: how fast small deviations grow (> 0) or die out (< 0).

    A frame Q is carried along, J_t Q_(t-1) = Q_t R_t (QR decomposition), and the exponents are the means of
    log |diag R_t| (Benettin et al. 1980; for trained networks Vogt, Puelma Touzel, Shlizerman & Lajoie 2022).

    Args:
        layer: of `watched`.
        sequence: the row of the batch. Default: 0.
        count: how many, largest first. Default: all S.
        skip: steps at the beginning that turn the frame and do not count. Default: 0.

    Returns:
        (count,); -inf where the step map loses a dimension.

    Raises:
        ValueError: a count or skip out of range.
    """
    stepper = _Stepper(layer, sequence)
    steps, size = layer.h.shape[0], stepper.size
    count = size if count is None else count
    if not 1 <= count <= size:
        raise ValueError(message("lyapunov exponents", "count", f"within [1, {size}]", str(count)))
    if not 0 <= skip < steps:
        raise ValueError(message("lyapunov exponents", "skip", f"within [0, {steps})", str(skip)))
    frame, totals = np.eye(size, count), np.zeros(count)
    order = range(steps - 1, -1, -1) if layer.reverse else range(steps)
    with np.errstate(divide="ignore"):
        for number, t in enumerate(order):
            frame, upper = np.linalg.qr(stepper.jacobian(t) @ frame)
            if number >= skip:
                totals += np.log(np.abs(np.diagonal(upper)))
    return np.asarray(totals / (steps - skip))


class _Stepper:
    """A layer that makes single steps from the states of a watched call."""

    def __init__(self, layer: WatchedLayer, sequence: int) -> None:
        self._layer, self._parameters = layer, layer.parameters()
        kinds = [("h", layer.h, layer.h_0), ("c", layer.c, layer.c_0), ("past", layer.past, layer.past_0)]
        self._kinds = [kind for kind, leaving, _ in kinds if leaving is not None]
        self._leaving = [leaving[:, ..., sequence, :] for _, leaving, _ in kinds if leaving is not None]
        self._entering = [start[..., sequence, :] for _, _, start in kinds if start is not None]
        self._x = layer.x[:, sequence]
        self._running, self._begins = layer.running[:, sequence], layer.begins[:, sequence]
        self._grouped = layer.grouped
        if self._grouped and layer.past is not None:
            expected, hint = "a layer without both", "one part of its state moves on while another stands still"
            raise ValueError(message("step jacobian", layer.name, expected, "group_periods and delays", hint))
        self.size = sum(part.size for part in self._entering)

    def _state_before(self, t: int) -> list[Array]:
        before = t + 1 if self._layer.reverse else t - 1
        inside = 0 <= before < len(self._x)
        return [part[before] for part in self._leaving] if inside else self._entering

    def jacobian(self, t: int) -> Array:
        if self._begins[t]:
            return np.zeros((self.size, self.size))
        moved = self._running[t]
        if not moved.any():
            return np.eye(self.size)
        whole = self._step(t)
        if not moved.all():  # clockwork groups: units that do not run keep h
            kept = np.flatnonzero(~moved)
            whole[kept] = np.eye(self.size)[kept]
        return whole

    def _step(self, t: int) -> Array:
        # A batch of S equal rows, of which row i is asked for the gradient of the i-th feature of the new state. At the
        # clock of a sequence's first step every unit runs.
        size, before = self.size, self._state_before(t)
        x = Tensor(np.tile(self._x[t], (1, size, 1)), False, "float64")
        state = {
            f"{kind}_l0": Tensor(np.repeat(part[..., None, :], size, axis=-2), True, "float64")
            for kind, part in zip(self._kinds, before, strict=True)
        }
        with enable_grad():
            _, leaving = _core.recurrent_with_state(self._layer.spec, self._parameters, x, state)
            picked, at = [], 0
            for name, part in zip(state, before, strict=True):
                mask = np.eye(size)[:, at : at + part.size].reshape(size, *part.shape)
                picked.append((leaving[name] * Tensor(np.moveaxis(mask, 0, -2), False, "float64")).sum())
                at += part.size
            sum(picked[1:], picked[0]).backward()
        rows = [np.moveaxis(np.asarray(part.grad), -2, 0).reshape(size, -1) for part in state.values()]
        return np.concatenate(rows, axis=1)


def spectral_radius(matrix: Array) -> float:
    """The largest modulus of the eigenvalues of a square matrix.

    >>> round(spectral_radius(np.array([[0.0, -2.0], [2.0, 0.0]])), 12)
    2.0
    """
    square = _matrix("spectral radius", matrix, square=True)
    return float(np.abs(np.linalg.eigvals(square.astype(np.float64))).max(initial=0.0))


def _matrix(operation: str, matrix: Any, *, square: bool = False) -> Array:
    """The matrix as an array.

    Raises:
        TypeError: no numbers.
        ValueError: of another shape than (M, K) (or (M, M), if `square`), or values that are not finite.
    """
    values = np.asarray(matrix)
    if values.dtype.kind not in "biuf":
        raise TypeError(message(operation, "matrix", "numbers", str(values.dtype)))
    if values.ndim != 2 or (square and values.shape[0] != values.shape[1]):
        raise ValueError(message(operation, "matrix", f"shape {'(M, M)' if square else '(M, K)'}", str(values.shape)))
    if not np.isfinite(values).all():
        raise ValueError(message(operation, "matrix", "finite numbers", "NaN or infinities"))
    return values


def singular_values(matrix: Array, count: int | None = None) -> Array:
    """The `count` largest singular values (default: all), largest first: by how much a step can stretch a gradient.

    >>> singular_values(np.diag([1.0, -3.0]), 1)
    array([3.])
    """
    values = _matrix("singular values", matrix).astype(np.float64)
    return np.asarray(np.linalg.svd(values, compute_uv=False)[:count])


def largest_singular_values(matrix: Array, count: int = 1, *, iterations: int = 50, seed: int = 0) -> Array:
    """The same by power iteration: for large matrices, of which the full decomposition takes long.

    A frame of `count` (and two more) columns is multiplied by W^T W and made orthonormal again and again; the error
    falls as (sigma_(count+3) / sigma_count)^(2 iterations), and the values are never too large.

    Args:
        matrix: (M, K).
        count: how many. Default: 1.
        iterations: Default: 50.
        seed: of the first frame.

    >>> largest_singular_values(np.diag([1.0, -3.0, 2.0, 0.5, 0.1]), 2).round(12)
    array([3., 2.])
    """
    positive("singular values", "count", count)
    positive("singular values", "iterations", iterations)
    matrix = _matrix("singular values", matrix)
    width = min(count + 2, matrix.shape[1])
    frame = np.random.default_rng(seed).standard_normal((matrix.shape[1], width)).astype(matrix.dtype)
    for _ in range(iterations):
        frame = np.linalg.qr(matrix.T @ (matrix @ frame))[0]
    return np.asarray(np.linalg.svd(matrix @ frame, compute_uv=False)[:count].astype(np.float64))


def spectral_radius_by_powers(matrix: Array, *, squarings: int = 10) -> float:
    """The spectral radius as ||W^n||^(1/n), n = 2**squarings (Gelfand), by repeated squaring.

    Never too small; too large by a factor of at most cond(V)^(1/n), V the eigenvectors: below half a per cent for
    cond(V) = 100. For large matrices, where the eigenvalues take long.

    >>> round(spectral_radius_by_powers(np.array([[0.0, -2.0], [2.0, 0.0]])), 2)
    2.0
    """
    positive("spectral radius", "squarings", squarings)
    power, log_scale = _matrix("spectral radius", matrix, square=True), 0.0  # W^n = power * exp(log_scale)
    for _ in range(squarings):
        norm = float(np.linalg.norm(power))
        if norm == 0.0:
            return 0.0
        power = power / norm
        power, log_scale = power @ power, 2.0 * (log_scale + np.log(norm))
    norm = float(np.linalg.norm(power))
    return float(np.exp((log_scale + np.log(norm)) / 2.0**squarings)) if norm > 0.0 else 0.0


@dataclass(frozen=True)
class RecurrentSpectrum:
    """The recurrent weights of one gate of one layer and direction.

    Attributes:
        layer: as `WatchedLayer.name`.
        gate: letter of the gate block.
        radius: spectral radius of the block W (H, H); for a projected LSTM of W W_hr; for the IndRNN max |u|.
        norm: its largest singular value.
    """

    layer: str
    gate: str
    radius: float
    norm: float


def recurrent_spectra(model: nn.Module, *, exact: bool = True) -> list[RecurrentSpectrum]:
    """Spectral radius and norm of the recurrent weights of every layer, gate by gate.

    For h_t = tanh(W h_(t-1) + ...) a norm below 1 suffices for gradients to vanish, and a spectral radius above 1 is
    necessary for them to explode (Pascanu, Mikolov & Bengio 2013, section 2.1). For gated cells the blocks of W_hh are
    parts of the step alone; `step_jacobian` is the whole.

    Args:
        model: a module with recurrent stacks inside.
        exact: by all eigenvalues and singular values. Default: True; False: by `spectral_radius_by_powers` and
            `largest_singular_values`, in the model's own precision (512 units: 20 ms a gate instead of half a second).

    Returns:
        One per layer, direction and gate; in the model's order.
    """
    found = []
    for path, module in model.named_modules():
        if not hasattr(module, "probe"):
            continue
        own = vars(module)
        layers = json.loads(_core.recurrent_spec_json(own["spec"]))["layers"]
        for parameter in own:
            stem, _, place = parameter.partition("_l")
            if stem not in ("weight_hh", "weight_u"):
                continue
            layer = layers[int(place.removesuffix("_reverse"))]
            letters = _core.gate_letters(layer["cell"], layer.get("options"))
            name = f"{path}.l{place}" if path else f"l{place}"
            for gate, block in zip(letters, _blocks(own, stem, place), strict=True):
                radius = spectral_radius(block) if exact else spectral_radius_by_powers(block)
                norm = singular_values(block, 1) if exact else largest_singular_values(block)
                found.append(RecurrentSpectrum(name, gate, radius, float(norm[0])))
    return found


def _blocks(own: dict[str, Any], stem: str, place: str) -> Array:
    """(G, H, H): what each gate multiplies the cell's own output of the step before by."""
    weight = own[f"{stem}_l{place}"].numpy()
    if stem == "weight_u":
        return np.diag(weight)[None]
    projection = own.get(f"weight_hr_l{place}")
    whole = weight if projection is None else weight @ projection.numpy()
    return np.asarray(whole).reshape(-1, whole.shape[1], whole.shape[1])
