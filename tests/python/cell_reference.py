"""Independent references in plain NumPy, written from the papers, for cells and options that PyTorch lacks.

Each step(x, state, p, o) is one time step of one layer: x (N, I), state a list [h] or [h, c], p the parameters by
their names without "_l0", o the options. Here stands forward alone, as plainly as it can; gradients are taken of it by
central differences (test_cells_reference.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
State = list[Array]


class Dropped(np.ndarray):
    """A state h of which products see h * mask."""

    mask: Array

    def __new__(cls, h: Array, mask: Array) -> Dropped:
        """h, and the mask beside it."""
        made = np.asarray(h).view(cls)
        made.mask = mask
        return made

    def __matmul__(self, other: Array) -> Array:
        return (np.asarray(self) * self.mask) @ np.asarray(other)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        plain = [np.asarray(i) for i in inputs]
        if ufunc is np.matmul:
            return (plain[0] * self.mask) @ plain[1]
        result = getattr(ufunc, method)(*plain)
        # r * h on its way into a second product
        return Dropped(result, self.mask) if ufunc is np.multiply else result


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def functions(o: dict[str, Any]) -> tuple[Callable[[Array], Array], Callable[[Array], Array], Callable[[Array], Array]]:
    """f, g, h with clipping in front of f and g."""
    table: dict[str, Callable[..., Array]] = {
        "sigmoid": sigmoid,
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "affine": lambda a, alpha=1, beta=0: alpha * a + beta,
        "leaky-relu": lambda a, alpha=0.01: np.where(a >= 0, a, alpha * a),
        "thresholded-relu": lambda a, alpha=1: np.where(a > alpha, a, 0),
        "scaled-tanh": lambda a, alpha=1, beta=1: alpha * np.tanh(beta * a),
        "hard-sigmoid": lambda a, alpha=0.2, beta=0.5: np.clip(alpha * a + beta, 0, 1),
        "hard-tanh": lambda a: np.clip(a, -1, 1),
        "elu": lambda a, alpha=1: np.where(a >= 0, a, alpha * np.expm1(np.minimum(a, 0))),
        "softsign": lambda a: a / (1 + np.abs(a)),
        "softplus": lambda a: np.logaddexp(0, a),
    }
    clip = o.get("clip") or np.inf
    chosen = {"gate": "sigmoid", "candidate": "tanh", "hidden": "tanh", **(o.get("activations") or {})}

    def function(place: str, limit: float) -> Callable[[Array], Array]:
        choice = chosen[place]
        name, *numbers = (choice,) if isinstance(choice, str) else choice
        return lambda a: table[name](np.clip(a, -limit, limit), *numbers)

    return function("gate", clip), function("candidate", clip), function("hidden", np.inf)


def norm(a: Array) -> Array:
    """Ba et al. 2016, equation 3, over the last axis."""
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def lstm(x: Array, state: State, p: dict[str, Array], o: dict[str, Any]) -> State:
    """Graves 2013, equations 7 to 11; CIFG as Greff et al. 2017; f = 1 as Hochreiter & Schmidhuber 1997."""
    f_, g_, h_ = functions(o)
    h, c = state
    coupled, forget_gate = o.get("coupled", False), o.get("forget_gate", True)
    letters = "ifgo" if forget_gate and not coupled else "igo"
    a = x @ p["weight_ih"].T + h @ p["weight_hh"].T + p.get("bias_ih", 0) + p.get("bias_hh", 0)
    seen: Callable[[Array], Array] = lambda c: c  # noqa: E731
    if o.get("layer_norm"):  # Ba et al. 2016, equations 20 to 22
        a = p["norm_weight_ih"] * norm(x @ p["weight_ih"].T) + p["norm_weight_hh"] * norm(h @ p["weight_hh"].T)
        a = a + p.get("bias_ih", 0) + p.get("bias_hh", 0)
        seen = lambda c: p["norm_weight_c"] * norm(c) + p.get("norm_bias_c", 0)  # noqa: E731
    a = dict(zip(letters, np.split(a, len(letters), axis=1), strict=True))
    rows = [letter for letter in letters if letter != "g"]
    peepholes = dict(zip(rows, p["weight_peephole"], strict=True)) if o.get("peephole") else dict.fromkeys(rows, 0.0)
    i = f_(a["i"] + peepholes["i"] * c)
    f = f_(a["f"] + peepholes["f"] * c) if "f" in letters else (1 - i if coupled else np.ones_like(i))
    c = f * c + i * g_(a["g"])
    m = f_(a["o"] + peepholes["o"] * c) * h_(seen(c))
    return [m @ p["weight_hr"].T if "weight_hr" in p else m, c]  # Sak et al. 2014, equation 12


def gru(x: Array, state: State, p: dict[str, Array], o: dict[str, Any]) -> State:
    """Cho et al. 2014 with the reset gate before or after the product."""
    f_, g_, _ = functions(o)
    (h,) = state
    if o.get("layer_norm") and not o.get("reset_after", True):  # the same with W_hn (r h) as the candidate's product
        size, w_ih, w_hh = h.shape[1], p["weight_ih"], p["weight_hh"]
        gi = np.concatenate([norm(x @ w_ih[: 2 * size].T), norm(x @ w_ih[2 * size :].T)], 1)
        gi = p["norm_weight_ih"] * gi + p.get("bias_ih", 0)
        scale, shift = p["norm_weight_hh"], p.get("bias_hh", np.zeros(3 * size))
        gates = scale[: 2 * size] * norm(h @ w_hh[: 2 * size].T) + shift[: 2 * size]
        r, z = np.split(f_(gi[:, : 2 * size] + gates), 2, axis=1)
        candidate = scale[2 * size :] * norm((r * h) @ w_hh[2 * size :].T) + shift[2 * size :]
        return [(1 - z) * g_(gi[:, 2 * size :] + candidate) + z * h]
    if o.get("layer_norm"):  # Ba et al. 2016, equations 23 to 25
        size = h.shape[1]
        gi, gh = x @ p["weight_ih"].T, h @ p["weight_hh"].T
        gi, gh = (np.concatenate([norm(g[:, : 2 * size]), norm(g[:, 2 * size :])], 1) for g in (gi, gh))
        gi = p["norm_weight_ih"] * gi + p.get("bias_ih", 0)
        gh = p["norm_weight_hh"] * gh + p.get("bias_hh", 0)
        (xr, xz, xn), (hr, hz, hn) = np.split(gi, 3, axis=1), np.split(gh, 3, axis=1)
        r, z = f_(xr + hr), f_(xz + hz)
        return [(1 - z) * g_(xn + r * hn) + z * h]
    xr, xz, xn = np.split(x @ p["weight_ih"].T + p.get("bias_ih", 0), 3, axis=1)
    w_r, w_z, w_n = np.split(p["weight_hh"], 3)
    b_r, b_z, b_n = np.split(p["bias_hh"], 3) if "bias_hh" in p else (0, 0, 0)
    r, z = f_(xr + h @ w_r.T + b_r), f_(xz + h @ w_z.T + b_z)
    n = g_(xn + r * (h @ w_n.T + b_n)) if o.get("reset_after", True) else g_(xn + (r * h) @ w_n.T + b_n)
    return [(1 - z) * n + z * h]


def rnn(x: Array, state: State, p: dict[str, Array], o: dict[str, Any]) -> State:
    """Elman 1990; layer normalisation as Ba et al. 2016, equation 4."""
    _, g_, _ = functions(o)
    if o.get("layer_norm"):
        a = norm(x @ p["weight_ih"].T + state[0] @ p["weight_hh"].T)
        return [g_(p["norm_weight_hh"] * a + p.get("bias_ih", 0) + p.get("bias_hh", 0))]
    return [g_(x @ p["weight_ih"].T + p.get("bias_ih", 0) + state[0] @ p["weight_hh"].T + p.get("bias_hh", 0))]


def mgu(x: Array, state: State, p: dict[str, Array], o: dict[str, Any]) -> State:
    """Zhou et al. 2016, equations 7a to 7c; each product of each gate normalised as Ba et al. 2016, equation 3."""
    f_, g_, _ = functions(o)
    h = state[0]
    if o.get("layer_norm"):
        size, bias = h.shape[1], p.get("bias_ih", 0) + p.get("bias_hh", np.zeros(2 * h.shape[1]))

        def summed(rows: slice, seen: Array) -> Array:
            of_x, of_h = norm(x @ p["weight_ih"][rows].T), norm(seen @ p["weight_hh"][rows].T)
            return p["norm_weight_ih"][rows] * of_x + p["norm_weight_hh"][rows] * of_h + bias[rows]

        f = f_(summed(slice(0, size), h))
        return [(1 - f) * h + f * g_(summed(slice(size, 2 * size), f * h))]
    xf, xn = np.split(x @ p["weight_ih"].T + p.get("bias_ih", 0), 2, axis=1)
    w_f, w_n = np.split(p["weight_hh"], 2)
    b_f, b_n = np.split(p["bias_hh"], 2) if "bias_hh" in p else (0, 0)
    f = f_(xf + h @ w_f.T + b_f)
    return [(1 - f) * h + f * g_(xn + (f * h) @ w_n.T + b_n)]


def indrnn(x: Array, state: State, p: dict[str, Array], o: dict[str, Any]) -> State:
    """Li et al. 2018, equation 2; with layer normalisation of W x alone."""
    _, g_, _ = functions({**o, "activations": {"candidate": "relu", **(o.get("activations") or {})}})
    if o.get("layer_norm"):
        a = p["norm_weight_ih"] * norm(x @ p["weight_ih"].T) + p.get("bias_ih", 0)
        return [g_(a + p["weight_u"] * state[0])]
    return [g_(x @ p["weight_ih"].T + p.get("bias_ih", 0) + p["weight_u"] * state[0])]


STEPS = {"LSTM": lstm, "GRU": gru, "RNN": rnn, "MGU": mgu, "IndRNN": indrnn}


def run_reference(
    kind: str, parameters: dict[str, Array], x: Array, state: State, options: dict[str, Any], layers: int = 1
) -> tuple[Array, list[State]]:
    """Outputs (T, N, H) and the final state of each layer of a stack; `state` serves every layer.

    Zoneout in its expectation (Krueger et al. 2017), or by masks {"h": (T, N, H), "c": ...} in options["kept"], 1 where
    the old state stays; leak as Jaeger et al. 2007; options["drop"] (N, H) multiplies h on its way into W_hh.
    """
    finals = []
    zoneout = options.get("zoneout", 0.0)
    keep = list(zoneout) if isinstance(zoneout, tuple) else [zoneout, 0.0]
    keep[0] += 1 - options.get("leak", 1.0)
    for k in range(layers):
        p = {name.removesuffix(f"_l{k}"): v for name, v in parameters.items() if name.endswith(f"_l{k}")}
        now, outputs = [s.copy() for s in state], []
        for t in range(len(x)):
            seen = Dropped(now[0], options["drop"]) if "drop" in options else now[0]
            new = STEPS[kind](x[t], [seen, *now[1:]], p, options)
            kept = [options["kept"][s][t] for s in "hc"] if "kept" in options else keep
            now = [k * old + (1 - k) * fresh for k, old, fresh in zip(kept, now, new, strict=False)]
            outputs.append(now[0])
        x = np.stack(outputs)
        finals.append(now)
    return x, finals
