"""The same results as cases.run_rnncore, from PyTorch: torch.nn where it has the network, else torch operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cases import Arrays, RecurrentCase, state_names


def _cell_step(cell: str, x: Any, state: list[Any], p: dict[str, Any]) -> list[Any]:
    """One step of any cell, from the papers' equations; p holds w_ih, w_hh, b_ih, b_hh (zeros if absent), w_hr."""
    h = state[0]
    gi = x @ p["w_ih"].T + p["b_ih"]
    gh = h @ p["w_hh"].T + p["b_hh"]
    if cell.startswith("rnn-"):
        return [{"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[cell[4:]](gi + gh)]
    if cell == "lstm":
        i, f, g, o = (gi + gh).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        m = torch.sigmoid(o) * torch.tanh(c)
        return [m if p["w_hr"] is None else m @ p["w_hr"].T, c]
    ir, iz, in_ = gi.chunk(3, -1)
    hr, hz, hn = gh.chunk(3, -1)
    r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    if cell == "gru-reset-before":
        w_n, b_n = p["w_hh"].chunk(3, 0)[2], p["b_hh"].chunk(3, 0)[2]
        n = torch.tanh(in_ + (r * h) @ w_n.T + b_n)
    else:
        n = torch.tanh(in_ + r * hn)
    return [(1 - z) * n + z * h]


def _direction(
    cell: str, x: Any, state: list[Any], p: dict[str, Any], lengths: Any, reverse: bool
) -> tuple[Any, list[Any]]:
    """One layer in one direction over x (T, N, I): outputs (T, N, H) and the final state."""
    outputs: list[Any] = [None] * len(x)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        inside = (lengths > t).to(x.dtype)[:, None]
        new = _cell_step(cell, x[t], state, p)
        state = [inside * a + (1 - inside) * b for a, b in zip(new, state, strict=True)]
        outputs[t] = inside * new[0]
    return torch.stack(outputs), state


def composed_stack(case: RecurrentCase, leaves: dict[str, Any]) -> dict[str, Any]:
    """Outputs and final states of any case from plain torch operations."""
    x = leaves["x"].transpose(0, 1) if case.batch_first else leaves["x"]
    lengths = torch.tensor(case.lengths if case.lengths else [case.T] * case.N)
    kinds = ("h", "c") if case.cell == "lstm" else ("h",)
    results: dict[str, Any] = {}
    slot = 0
    for layer, hidden in enumerate(case.sizes):
        outputs = []
        for suffix in ("", "_reverse") if case.bidirectional else ("",):
            gates = leaves[f"p.weight_ih_l{layer}{suffix}"].shape[0]
            zeros = torch.zeros(gates, dtype=x.dtype)
            p = {
                "w_ih": leaves[f"p.weight_ih_l{layer}{suffix}"],
                "w_hh": leaves[f"p.weight_hh_l{layer}{suffix}"],
                "b_ih": leaves.get(f"p.bias_ih_l{layer}{suffix}", zeros),
                "b_hh": leaves.get(f"p.bias_hh_l{layer}{suffix}", zeros),
                "w_hr": leaves.get(f"p.weight_hr_l{layer}{suffix}"),
            }
            widths = {"h": case.proj or hidden, "c": hidden}
            state = [leaves.get(f"{k}_0.{slot}", torch.zeros(case.N, widths[k], dtype=x.dtype)) for k in kinds]
            y, state = _direction(case.cell, x, state, p, lengths, suffix != "")
            outputs.append(y)
            results.update({f"{k}_n.{slot}": s for k, s in zip(kinds, state, strict=True)})
            slot += 1
        x = torch.cat(outputs, -1)
    output = x.transpose(0, 1) if case.batch_first else x
    return {"output": output, **dict(sorted(results.items(), key=lambda item: (item[0][0] != "h", item[0])))}


def module_stack(case: RecurrentCase, leaves: dict[str, Any]) -> dict[str, Any]:
    """Outputs and final states from torch.nn's module, its parameters replaced by the leaves."""
    arguments: dict[str, Any] = {
        "num_layers": case.layers,
        "bias": case.bias,
        "batch_first": case.batch_first,
        "bidirectional": case.bidirectional,
        "dtype": leaves["x"].dtype,
    }
    if case.cell == "lstm":
        module: Any = torch.nn.LSTM(case.I, case.H, proj_size=case.proj, **arguments)
    elif case.cell == "gru":
        module = torch.nn.GRU(case.I, case.H, **arguments)
    else:
        module = torch.nn.RNN(case.I, case.H, nonlinearity=case.cell[4:], **arguments)
    kinds = ("h", "c") if case.cell == "lstm" else ("h",)
    x: Any = leaves["x"]
    hx: Any = None
    if case.state:
        stacked = [torch.stack([leaves[name] for name in state_names(leaves, kind)]) for kind in kinds]
        hx = tuple(stacked) if len(stacked) == 2 else stacked[0]
    if case.lengths:
        lengths = torch.tensor(case.lengths)
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, case.batch_first, enforce_sorted=False)
    parameters = {name[2:]: value for name, value in leaves.items() if name.startswith("p.")}
    output, final = torch.func.functional_call(module, parameters, (x, hx))
    if case.lengths:
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, case.batch_first, total_length=case.T)
    results = {"output": output}
    for kind, state in zip(kinds, final if len(kinds) == 2 else (final,), strict=True):
        results.update({f"{kind}_n.{i}": state[i] for i in range(len(state))})
    return results


def run_torch(case: RecurrentCase, arrays: Arrays, *, composed: bool | None = None) -> Arrays:
    """Everything run_rnncore returns, in float64."""
    leaves = {
        name: torch.tensor(value, requires_grad=True) for name, value in arrays.items() if not name.startswith("w.")
    }
    use_module = case.in_torch if composed is None else not composed
    results = module_stack(case, leaves) if use_module else composed_stack(case, leaves)
    loss = sum((value * torch.tensor(arrays[f"w.{name}"])).sum() for name, value in results.items())
    loss.backward()
    found: Arrays = {name: value.detach().numpy() for name, value in results.items()}
    for name, leaf in leaves.items():
        found[f"d.{name}"] = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
    return found
