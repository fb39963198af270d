"""Every cell with options against the NumPy references of cell_reference.py: outputs, states and gradients.

Gradients: the reference differentiated by central differences along random directions, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_close
from cell_reference import run_reference

import rnncore
from rnncore import nn

CASES: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"peephole": True}),
    ("LSTM", {"coupled": True}),
    ("LSTM", {"coupled": True, "peephole": True, "bias": False}),
    ("LSTM", {"forget_gate": False}),
    ("LSTM", {"forget_gate": False, "peephole": True, "clip": 0.7}),
    (
        "LSTM",
        {"activations": {"gate": "hard-sigmoid", "candidate": ("scaled-tanh", 2.0, 0.5), "hidden": ("elu", 0.7)}},
    ),
    ("GRU", {"clip": 0.9, "activations": {"gate": "hard-sigmoid", "candidate": "softsign"}}),
    ("GRU", {"reset_after": False, "activations": {"candidate": "relu"}}),
    ("RNN", {"nonlinearity": "hard-tanh"}),
    ("RNN", {"nonlinearity": ("leaky-relu", 0.3), "clip": 1.1}),
    ("RNN", {"nonlinearity": "softplus"}),
    ("RNN", {"leak": 0.3}),
    ("RNN", {"zoneout": 0.3, "nonlinearity": "relu"}),
    ("LSTM", {"zoneout": (0.1, 0.4), "peephole": True}),
    ("GRU", {"zoneout": 0.2}),
    ("LSTM", {"layer_norm": True}),
    ("LSTM", {"layer_norm": True, "peephole": True, "zoneout": (0.1, 0.3), "bias": False}),
    ("LSTM", {"layer_norm": True, "coupled": True, "clip": 0.9}),
    ("LSTM", {"proj_size": 4}),
    ("LSTM", {"proj_size": 4, "peephole": True, "coupled": True, "clip": 0.9, "bias": False}),
    ("LSTM", {"proj_size": 4, "zoneout": (0.1, 0.3), "forget_gate": False}),
    ("LSTM", {"proj_size": 4, "layer_norm": True, "zoneout": (0.1, 0.3)}),
    ("GRU", {"layer_norm": True}),
    ("GRU", {"layer_norm": True, "bias": False, "zoneout": 0.2}),
    ("RNN", {"layer_norm": True}),
    ("RNN", {"layer_norm": True, "leak": 0.4, "nonlinearity": "relu"}),
    ("GRU", {"layer_norm": True, "reset_after": False}),
    ("GRU", {"layer_norm": True, "reset_after": False, "bias": False, "zoneout": 0.2}),
    ("MGU", {"layer_norm": True}),
    ("MGU", {"layer_norm": True, "bias": False, "zoneout": 0.2, "activations": {"candidate": "softsign"}}),
    ("IndRNN", {"layer_norm": True}),
    ("IndRNN", {"layer_norm": True, "nonlinearity": "tanh", "zoneout": 0.2, "bias": False}),
    ("MGU", {}),
    ("MGU", {"bias": False, "clip": 0.9, "zoneout": 0.2, "activations": {"candidate": "softsign"}}),
    ("IndRNN", {}),
    ("IndRNN", {"nonlinearity": "tanh", "zoneout": 0.2, "bias": False}),
]
IDS = [f"{kind}-{'-'.join(options) or 'plain'}" for kind, options in CASES]


def reference_options(options: dict[str, Any]) -> dict[str, Any]:
    out = dict(options)
    if "nonlinearity" in out:
        out["activations"] = {"candidate": out.pop("nonlinearity")}
    return out


def setting(kind: str, options: dict[str, Any], dtype: str, layers: int = 2) -> tuple[Any, dict[str, np.ndarray]]:
    """A module of two layers, and its input, state and parameters."""
    rng = np.random.default_rng(11)
    module = getattr(nn, kind)(5, 7, layers, dtype=dtype, **options)
    arrays = {f"p.{name}": rng.uniform(-0.8, 0.8, p.shape) for name, p in module.named_parameters()}
    module.load_state_dict({name[2:]: value.astype(dtype) for name, value in arrays.items()})
    arrays["x"] = rng.standard_normal((6, 3, 5))
    for state in "hc" if kind == "LSTM" else "h":
        arrays[state] = rng.uniform(-1, 1, (3, options.get("proj_size", 7) if state == "h" else 7))
    return module, arrays


def reference(kind: str, options: dict[str, Any], arrays: dict[str, np.ndarray], layers: int = 2) -> list[np.ndarray]:
    """The output, then h_n and c_n (layers, N, H)."""
    parameters = {name[2:]: value for name, value in arrays.items() if name.startswith("p.")}
    state = [arrays[s] for s in "hc" if s in arrays]
    output, finals = run_reference(kind, parameters, arrays["x"], state, reference_options(options), layers)
    return [output, *(np.stack([final[i] for final in finals]) for i in range(len(state)))]


def results(module: Any, leaves: dict[str, Any], layers: int = 2) -> list[Any]:
    states = [rnncore.stack([leaves[s]] * layers) for s in "hc" if s in leaves]
    output, final = module(leaves["x"], tuple(states) if len(states) == 2 else states[0])
    return [output, *(final if isinstance(final, tuple) else (final,))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_outputs_and_states(kind: str, options: dict[str, Any], dtype: str) -> None:
    module, arrays = setting(kind, options, dtype)
    leaves = {name: rnncore.tensor(value, dtype=dtype) for name, value in arrays.items() if len(name) == 1}
    wanted = reference(kind, options, arrays)
    module.eval()  # zoneout in its expectation
    for got, want in zip(results(module, leaves), wanted, strict=True):
        assert_close(got.numpy(), want, {"float32": 1e-5, "float64": 1e-12}[dtype], kind)


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
def test_gradients(kind: str, options: dict[str, Any]) -> None:
    """Along random directions, of input, state and each parameter: 1e-7, what differences in double leave."""
    module, arrays = setting(kind, options, "float64")
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(r.shape) for r in reference(kind, options, arrays)]
    leaves = {n: rnncore.tensor(v, requires_grad=True) for n, v in arrays.items() if len(n) == 1}
    module.eval()
    got = results(module, leaves)
    sum((r * w).sum() for r, w in zip(got, weights, strict=True)).backward()
    leaves |= {f"p.{name}": parameter for name, parameter in module.named_parameters()}

    def loss(changed: dict[str, np.ndarray]) -> float:
        return sum(float((r * w).sum()) for r, w in zip(reference(kind, options, changed), weights, strict=True))

    for name, value in arrays.items():
        direction = rng.standard_normal(value.shape)
        up, down = (loss({**arrays, name: value + step * direction}) for step in (1e-6, -1e-6))
        wanted = (up - down) / 2e-6
        found = float((leaves[name].grad.numpy() * direction).sum())
        assert abs(found - wanted) <= 1e-7 * max(1.0, abs(wanted)), (name, found, wanted)


MASKED: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {"zoneout": (0.3, 0.4), "state_dropout": 0.4}),
    ("LSTM", {"zoneout": (0.0, 0.5), "peephole": True}),
    ("GRU", {"zoneout": 0.3, "state_dropout": 0.4}),
    ("GRU", {"reset_after": False, "state_dropout": 0.4}),
    ("MGU", {"zoneout": 0.3, "state_dropout": 0.4}),
    ("RNN", {"zoneout": 0.3, "state_dropout": 0.4}),
    ("IndRNN", {"zoneout": 0.3}),
    ("LSTM", {"layer_norm": True, "zoneout": (0.3, 0.4), "state_dropout": 0.4}),
    ("LSTM", {"proj_size": 4, "zoneout": (0.3, 0.4), "state_dropout": 0.4}),
    ("LSTM", {"proj_size": 4, "layer_norm": True, "zoneout": (0.3, 0.4), "state_dropout": 0.4}),
    ("GRU", {"layer_norm": True, "zoneout": 0.3, "state_dropout": 0.4}),
    ("RNN", {"layer_norm": True, "zoneout": 0.3, "state_dropout": 0.4}),
    ("GRU", {"layer_norm": True, "reset_after": False, "zoneout": 0.3, "state_dropout": 0.4}),
    ("MGU", {"layer_norm": True, "zoneout": 0.3, "state_dropout": 0.4}),
    ("IndRNN", {"layer_norm": True, "zoneout": 0.3}),
]


@pytest.mark.parametrize(("kind", "options"), MASKED, ids=lambda value: value if isinstance(value, str) else "")
def test_training_with_the_masks_that_dropout_draws(kind: str, options: dict[str, Any]) -> None:
    """Zoneout of h, of c and state dropout take one call of the generator each, in this order."""
    module, arrays = setting(kind, options, "float64", 1)
    widths = {"h": options.get("proj_size", 7), "c": 7}
    generator = rnncore.Generator(9)

    def draw(p: float, size: tuple[int, ...]) -> np.ndarray:
        return nn.functional.dropout(rnncore.tensor(np.ones(size)), p, True, generator=generator).numpy()

    zoneout = options.get("zoneout", 0.0)
    h, c = zoneout if isinstance(zoneout, tuple) else (zoneout, 0.0)
    kept = {}
    for s, p in (("h", h), ("c", c)):
        shape = (6, 3, widths[s])
        kept[s] = (draw(p, shape) == 0).astype(float) if p else np.zeros(shape)
    assert 0.1 < max(k.mean() for k in kept.values()) < 0.7 or not zoneout
    masks: dict[str, Any] = {"kept": kept}
    if options.get("state_dropout"):
        masks["drop"] = draw(options["state_dropout"], (3, widths["h"]))
    leaves = {name: rnncore.tensor(value) for name, value in arrays.items() if len(name) == 1}
    states = [rnncore.stack([leaves[s]]) for s in "hc" if s in leaves]
    output, _ = module(leaves["x"], tuple(states) if len(states) == 2 else states[0], generator=rnncore.Generator(9))
    wanted = reference(kind, {**options, "zoneout": 0.0, **masks}, arrays, 1)[0]
    assert_close(output.numpy(), wanted, 1e-12, kind)


@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("forget_gate", [False, True])
def test_truncated_gradient_is_that_of_detached_gates(forget_gate: bool, peephole: bool) -> None:
    """The gradient of 1997: h_{t-1} and the c_{t-1} that peepholes see are constants to the gates."""
    options = {"forget_gate": forget_gate, "peephole": peephole, "truncate_gates": True}
    module, arrays = setting("LSTM", options, "float64", 1)
    leaves = {n: rnncore.tensor(v, requires_grad=True) for n, v in arrays.items() if len(n) == 1}
    output = results(module, leaves, 1)[0]
    (output * output).sum().backward()
    p = {
        name.removesuffix("_l0"): rnncore.tensor(v.numpy(), requires_grad=True) for name, v in module.named_parameters()
    }
    composed = {n: rnncore.tensor(v, requires_grad=True) for n, v in arrays.items() if len(n) == 1}
    h, c, rows = composed["h"], composed["c"], []
    size = 7
    for t in range(len(arrays["x"])):
        gates = composed["x"][t] @ p["weight_ih"].transpose(0, 1) + p["bias_ih"] + p["bias_hh"]
        gates = gates + h.detach() @ p["weight_hh"].transpose(0, 1)
        parts = [gates[:, k * size : (k + 1) * size] for k in range(4 if forget_gate else 3)]
        a = dict(zip("ifgo" if forget_gate else "igo", parts, strict=True))
        seen = c.detach()
        if peephole:
            a["i"] = a["i"] + p["weight_peephole"][0] * seen
            if forget_gate:
                a["f"] = a["f"] + p["weight_peephole"][1] * seen
        kept = rnncore.sigmoid(a["f"]) * c if forget_gate else c
        c = kept + rnncore.sigmoid(a["i"]) * rnncore.tanh(a["g"])
        if peephole:
            a["o"] = a["o"] + p["weight_peephole"][-1] * c.detach()
        h = rnncore.sigmoid(a["o"]) * rnncore.tanh(c)
        rows.append(h)
    whole = rnncore.stack(rows)
    (whole * whole).sum().backward()
    assert_close(output.numpy(), whole.numpy(), 1e-12, "output")
    for name, parameter in module.named_parameters():
        assert_close(parameter.grad.numpy(), p[name.removesuffix("_l0")].grad.numpy(), 1e-10, name)
    for name in ("x", "c"):
        assert_close(leaves[name].grad.numpy(), composed[name].grad.numpy(), 1e-10, name)
    assert not leaves["h"].grad.numpy().any()  # no error leaves through h_0
