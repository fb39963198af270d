"""Stacks of any wiring in plain NumPy, one row and one step at a time, from the definitions in docs/wiring.md."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-a))


def cell_step(cell: str, gi: np.ndarray, w_hh: np.ndarray, b_hh: np.ndarray, h: np.ndarray, c: np.ndarray) -> Any:
    """(h, c) from the gates' input part: W_ih x + b_ih + what delayed states add."""
    size = len(h)
    if cell.startswith("rnn-"):
        a = gi + w_hh @ h + b_hh
        return {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0), "sigmoid": _sigmoid}[cell[4:]](a), c
    if cell == "lstm":
        i, f, g, o = np.split(gi + w_hh @ h + b_hh, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c
    if cell == "mgu":
        f = _sigmoid(gi[:size] + w_hh[:size] @ h + b_hh[:size])
        n = np.tanh(gi[size:] + w_hh[size:] @ (f * h) + b_hh[size:])
        return (1 - f) * h + f * n, c
    ir, iz, in_ = np.split(gi, 3)
    gh = w_hh @ h + b_hh
    r, z = _sigmoid(ir + gh[:size]), _sigmoid(iz + gh[size : 2 * size])
    if cell == "gru":
        n = np.tanh(in_ + r * gh[2 * size :])
    else:
        n = np.tanh(in_ + w_hh[2 * size :] @ (r * h) + b_hh[2 * size :])
    return (1 - z) * n + z * h, c


class RowOfLayer:
    """One layer and direction over one row of the batch: its state, and how it reads a sequence."""

    def __init__(self, layer: dict[str, Any], suffix: str, p: Arrays, state: dict[str, np.ndarray]) -> None:
        self.cell, self.hidden = layer["cell"], layer["hidden_size"]
        self.width = layer.get("proj_size", self.hidden)  # of h
        self.group_periods = layer.get("options", {}).get("group_periods")
        self.delays, self.period = layer.get("delays", []), layer.get("period", 1)
        self.p, self.suffix = p, suffix
        depth = max(self.delays, default=1)
        self.learnt = (p.get(f"h_0{suffix}", np.zeros(self.width)), p.get(f"c_0{suffix}", np.zeros(self.hidden)))
        self.given = (
            state.get("h", self.learnt[0]),
            state.get("c", self.learnt[1]),
            list(state.get("past", np.zeros((depth - 1, self.width)))),
        )
        self.begin(*self.given, int(state.get("clock", 0)))

    def begin(self, h: np.ndarray, c: np.ndarray, past: list[np.ndarray], clock: int) -> None:
        self.h, self.c, self.past, self.clock = h, c, list(past), clock

    def restart(self) -> None:
        """A reset: the learnt state where there is one, else the state given."""
        if f"h_0{self.suffix}" in self.p:
            self.begin(*self.learnt, [np.zeros(self.width)] * len(self.past), 0)
        else:
            self.begin(*self.given, 0)

    def seen(self, w: np.ndarray) -> np.ndarray:
        """A weight of states, without what comes from faster groups (Koutnik et al. 2014: block upper triangular)."""
        if not self.group_periods:
            return w
        group = np.arange(self.hidden) // (self.hidden // len(self.group_periods))
        return np.where(group[None, :] >= np.resize(group, len(w))[:, None], w, 0.0)

    def step(self, x: np.ndarray) -> np.ndarray:
        if self.clock % self.period == 0:
            p, s = self.p, self.suffix
            gi = p[f"weight_ih{s}"] @ x + p.get(f"bias_ih{s}", 0)
            line = [self.h, *self.past]  # h_{t-1}, h_{t-2}, ...
            for d in self.delays:
                name = (
                    f"weight_delay{s}_d{d}"
                    if "_reverse" not in s
                    else f"weight_delay{s[: -len('_reverse')]}_d{d}_reverse"
                )
                gi = gi + self.seen(p[name]) @ line[d - 1]
            if self.cell == "indrnn":
                h, c = np.maximum(gi + p[f"weight_u{s}"] * self.h, 0), self.c
            else:
                w_hh = self.seen(p[f"weight_hh{s}"])
                h, c = cell_step(self.cell, gi, w_hh, p.get(f"bias_hh{s}", np.zeros(len(w_hh))), self.h, self.c)
                if self.width != self.hidden:
                    h = p[f"weight_hr{s}"] @ h
            self.past = line[: len(self.past)]
            if self.group_periods:
                runs = self.clock % np.repeat(self.group_periods, self.hidden // len(self.group_periods)) == 0
                h, c = np.where(runs, h, self.h), np.where(runs, c, self.c)
            self.h, self.c = h, c
        self.clock += 1
        return self.h

    def read(self, x: np.ndarray, starts: np.ndarray, reverse: bool) -> np.ndarray:
        """Outputs (T, H) of x (T, F); starts[t]: a new sequence begins at t."""
        outputs = np.zeros((len(x), self.width))
        order = range(len(x))[::-1] if reverse else range(len(x))
        for t in order:
            boundary = t + 1 if reverse else t
            if boundary < len(x) and starts[boundary] and (reverse or boundary >= 0):
                self.restart()
            outputs[t] = self.step(x[t])
        return outputs


def run_stack(
    spec: dict[str, Any],
    p: Arrays,
    x: np.ndarray,
    state: Arrays | None = None,
    lengths: Any = None,
    starts: np.ndarray | None = None,
) -> tuple[np.ndarray, Arrays]:
    """Outputs (T, N, O) and the final state by name, as `nn.Recurrent` returns them."""
    steps, batch = x.shape[:2]
    after: dict[str, list[np.ndarray]] = {}
    rows = []
    for n in range(batch):
        length = steps if lengths is None else int(lengths[n])
        begins = np.zeros(length, bool) if starts is None else starts[:length, n].astype(bool)
        y, final = _run_row(spec, p, x[:length, n], _row_state(state or {}, n), begins)
        rows.append(np.concatenate([y, np.zeros((steps - length, y.shape[1]))]))
        for name, value in final.items():
            after.setdefault(name, []).append(value)
    axis = {name: 1 if name.startswith("past") else 0 for name in after}
    return np.stack(rows, 1), {name: np.stack(values, axis[name]) for name, values in after.items()}


def _row_state(state: Arrays, n: int) -> Arrays:
    return {name: value[:, n] if name.startswith("past") else value[n] for name, value in state.items()}


def _run_row(spec: dict[str, Any], p: Arrays, x: np.ndarray, state: Arrays, starts: np.ndarray) -> Any:
    after: Arrays = {}
    connection = spec.get("connection", "none")
    seen, below, clock = [x], x, 0
    periods = any(layer.get("period", 1) > 1 or "group_periods" in layer.get("options", {}) for layer in spec["layers"])
    for k, layer in enumerate(spec["layers"]):
        source = np.concatenate(seen, 1) if connection == "dense" else below
        outputs = []
        for suffix in ("", "_reverse") if spec["bidirectional"] else ("",):
            name = f"_l{k}{suffix}"
            own = {kind: state[kind + name] for kind in ("h", "c", "past") if kind + name in state}
            row = RowOfLayer(layer, name, p, {**own, "clock": state.get("clock", 0)})
            outputs.append(row.read(source, starts, suffix != "" or spec.get("reverse", False)))
            after[f"h{name}"] = row.h
            if layer["cell"] == "lstm":
                after[f"c{name}"] = row.c
            if layer.get("delays"):
                after[f"past{name}"] = np.array(row.past).reshape(-1, row.width)
            if suffix == "":
                clock = row.clock
        merge = spec.get("merge", "concat")
        y = np.concatenate(outputs, 1) if merge == "concat" else sum(outputs) / (2 if merge == "mean" else 1)
        if k > 0 and connection in ("residual", "highway"):
            skip = p.get(f"weight_skip_l{k}")
            path = below if skip is None else below @ skip.T
            gate = 1.0
            if connection == "highway":
                gate = _sigmoid(below @ p[f"weight_highway_l{k}"].T + p[f"bias_highway_l{k}"])
                y = gate * y + (1 - gate) * path
            else:
                y = y + path
        below = y
        seen.append(y)
    if periods:
        after["clock"] = np.array(clock)
    return below, after
