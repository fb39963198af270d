"""Instruments against closed forms (powers of W), PyTorch's hooks and central differences in float64."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import Generator, Tensor, inspect, nn

LINEAR = ("affine", 1.0, 0.0)


def randn(*shape: int, seed: int = 3) -> Tensor:
    return rnncore.randn(*shape, dtype="float64", generator=Generator(seed))


def linear_rnn(hidden: int = 4, layers: int = 1, **options: Any) -> nn.RNN:
    return nn.RNN(3, hidden, layers, nonlinearity=LINEAR, dtype="float64", generator=Generator(1), **options)


STACKS: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(3, 4, 2, dtype="float64", generator=Generator(1)),
    "leaky": lambda: nn.RNN(3, 4, 2, leak=0.3, dtype="float64", generator=Generator(1)),
    "lstm": lambda: nn.LSTM(3, 4, 2, dtype="float64", generator=Generator(1)),
    "peephole": lambda: nn.LSTM(3, 4, peephole=True, dtype="float64", generator=Generator(1)),
    "projected": lambda: nn.LSTM(3, 4, 2, proj_size=2, dtype="float64", generator=Generator(1)),
    "normalised": lambda: nn.LSTM(3, 4, layer_norm=True, dtype="float64", generator=Generator(1)),
    "gru": lambda: nn.GRU(3, 4, dtype="float64", generator=Generator(1)),
    "gru_before": lambda: nn.GRU(3, 4, reset_after=False, dtype="float64", generator=Generator(1)),
    "mgu": lambda: nn.MGU(3, 4, dtype="float64", generator=Generator(1)),
    "indrnn": lambda: nn.IndRNN(3, 4, 2, nonlinearity="tanh", dtype="float64", generator=Generator(1)),
    "two directions": lambda: nn.GRU(3, 4, 2, bidirectional=True, dtype="float64", generator=Generator(1)),
    "highway": lambda: nn.Recurrent(
        3, [nn.Layer("lstm", 4), nn.Layer("gru", 4)], connection="highway", dtype="float64", generator=Generator(1)
    ),
    "delays": lambda: recurrent(nn.Layer("lstm", 4), nn.Layer("lstm", 3, delays=(2, 4))),
    "delays both ways": lambda: recurrent(nn.Layer("gru", 4, delays=(3,)), bidirectional=True),
    "period": lambda: recurrent(nn.Layer("gru", 4), nn.Layer("lstm", 4, period=2)),
    "period and delays": lambda: recurrent(nn.Layer("gru", 4, period=2, delays=(2,)), bidirectional=True),
    "groups": lambda: recurrent(nn.Layer("rnn-tanh", 4, group_periods=(1, 2))),
}


def recurrent(*layers: nn.Layer, **options: Any) -> nn.Recurrent:
    return nn.Recurrent(3, list(layers), dtype="float64", generator=Generator(1), **options)


stacks = pytest.mark.parametrize("name", STACKS)


def test_linear_network_gives_powers_of_its_weights() -> None:
    rnn, v, length = linear_rnn(), randn(4, seed=9), 12
    x = randn(length, 2, 3)
    w = rnn.weight_hh_l0.numpy()
    [flow] = inspect.gradient_flow(rnn, lambda: (rnn(x)[0][length - 1] * v).sum())
    for t in range(length):
        want = v.numpy() @ np.linalg.matrix_power(w, length - 1 - t)
        np.testing.assert_allclose(flow.dh[t], np.tile(want, (2, 1)), rtol=1e-12, atol=1e-15)
    [profile] = inspect.gradient_lag(rnn, lambda: (rnn(x)[0] * v).sum(2), steps=[length - 1, 5])
    for j, t in enumerate([length - 1, 5]):
        for k in range(length):
            norm = np.linalg.norm(v.numpy() @ np.linalg.matrix_power(w, k)) if k <= t else np.nan
            np.testing.assert_allclose(profile.norms[j, k], norm, rtol=1e-12)
    with inspect.watched(rnn) as watch:
        rnn(x)
    np.testing.assert_allclose(inspect.step_jacobian(watch.layers[0], 3), w, rtol=1e-12, atol=1e-15)


def test_backward_direction_counts_lags_forwards() -> None:
    rnn = linear_rnn(bidirectional=True)
    x, w = randn(6, 1, 3), rnn.weight_hh_l0_reverse.numpy()
    profiles = inspect.gradient_lag(rnn, lambda: rnn(x)[0].sum(2), steps=[2])
    assert [profile.name for profile in profiles] == ["l0", "l0_reverse"]
    want = [np.linalg.norm(np.ones(4) @ np.linalg.matrix_power(w, k)) for k in range(4)]
    np.testing.assert_allclose(profiles[1].norms[0, :, 0], [*want, np.nan, np.nan], rtol=1e-12)


def test_profile_means_and_reach() -> None:
    norms = np.array([[[1.0], [0.5], [0.02]], [[3.0], [np.nan], [np.nan]]])
    profile = inspect.LagProfile("l0", np.array([2, 0]), norms)
    np.testing.assert_allclose(profile.mean(), [2.0, 0.5, 0.02])
    assert (profile.reach(), profile.reach(0.2), profile.reach(0.9)) == (2, 1, 0)


def central_jacobian(module: nn.Module, x: Tensor, state: list[np.ndarray], layer: inspect.WatchedLayer) -> np.ndarray:
    """Of one step of a layer alone, at which every unit runs."""
    sizes, flat = [part.size for part in state], np.concatenate([part.ravel() for part in state])
    kinds = ["h_l0"] + ["c_l0"] * (layer.c is not None) + ["past_l0"] * (layer.past is not None)

    def leaving(entering: np.ndarray) -> np.ndarray:
        parts = np.split(entering, np.cumsum(sizes)[:-1])
        given = {
            kind: Tensor(part.reshape(*old.shape[:-1], 1, -1))
            for kind, part, old in zip(kinds, parts, state, strict=True)
        }
        _, after = rnncore._core.recurrent_with_state(layer.spec, layer.parameters(), x, given)
        return np.concatenate([after[kind].numpy().ravel() for kind in kinds])

    eps, columns = 1e-6, []
    with rnncore.no_grad():
        for unit in range(len(flat)):
            up, down = flat.copy(), flat.copy()
            up[unit] += eps
            down[unit] -= eps
            columns.append((leaving(up) - leaving(down)) / (2 * eps))
    return np.stack(columns, axis=1)


@stacks
def test_step_jacobian_is_that_of_central_differences(name: str) -> None:
    module = STACKS[name]()
    with inspect.watched(module) as watch:
        module(randn(5, 2, 3))
    for layer in watch.layers:
        before, t = (3, 2) if layer.reverse else (1, 2)
        if not layer.running[t].any():  # backwards, with a period, over five steps: step 2 is the third
            continue
        state = [part[before, ..., 1, :] for part in (layer.h, layer.c, layer.past) if part is not None]
        want = central_jacobian(module, Tensor(layer.x[t : t + 1, 1:2]), state, layer)
        np.testing.assert_allclose(inspect.step_jacobian(layer, t, sequence=1), want, atol=1e-8)


@stacks
def test_gradients_chain_by_the_step_jacobians(name: str) -> None:
    """d/d state_(t-1) = d/d state_t times the Jacobian, where the loss reads the last output alone."""
    module = STACKS[name]()
    x = randn(6, 2, 3)
    with inspect.watched(module) as watch:
        (module(x)[0][5] ** 2).sum().backward()
    check_chain(next(layer for layer in reversed(watch.layers) if not layer.reverse))


def check_chain(layer: inspect.WatchedLayer) -> None:
    gradients = layer.dh if layer.dc is None else np.concatenate([layer.dh, layer.dc], axis=2)
    carried = np.zeros(len(inspect.step_jacobian(layer, 1)))
    width = gradients.shape[2]
    carried[:width] = gradients[5, 1]  # nothing reads the past of the last step
    for t in range(5, 0, -1):
        carried = carried @ inspect.step_jacobian(layer, t, sequence=1)
        np.testing.assert_allclose(gradients[t - 1, 1], carried[:width], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("name", ["rnn", "lstm", "delays", "period", "groups"])
def test_nothing_flows_back_over_a_reset(name: str, learnt: bool) -> None:
    module = STACKS[name]()
    if learnt:
        layers = {"delays": nn.Layer("lstm", 4, delays=(2, 4)), "period": nn.Layer("lstm", 4, period=2)}
        module = recurrent(layers.get(name, nn.Layer("gru", 4)), learn_initial_state=True)
    x, mask = randn(6, 2, 3), np.zeros((6, 2), np.uint8)
    mask[3, 1] = mask[0, 0] = 1
    plain = module(x, reset_mask=mask)[0]
    with inspect.watched(module) as watch:
        output = module(x, reset_mask=mask)[0]
        (output[5] ** 2).sum().backward()
    np.testing.assert_array_equal(output.numpy(), plain.numpy())
    layer = watch.layers[-1]
    np.testing.assert_array_equal(layer.begins, mask)
    assert not inspect.step_jacobian(layer, 3, sequence=1).any()
    assert not layer.dh[:3, 1].any()
    assert np.abs(layer.dh[:3, 0]).max() > 0
    check_chain(layer)


def test_gates_count_where_the_layer_runs() -> None:
    gru = recurrent(nn.Layer("gru", 4, period=3))
    with inspect.watched(gru) as watch:
        gru(randn(6, 2, 3), lengths=np.array([6, 2]))
    [layer] = watch.layers
    np.testing.assert_array_equal(layer.running[:, :, 0], [[1, 1], [0, 0], [0, 0], [1, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(layer.h[1], layer.h[0])
    np.testing.assert_array_equal(layer.h[2, 1], 0)
    assert [use.counts.sum() for use in inspect.gate_use(layer)] == [12, 12, 12]
    np.testing.assert_array_equal(inspect.step_jacobian(layer, 1), np.eye(4))


def test_gradients_of_a_lower_layer_are_those_of_pytorchs_cells() -> None:
    torch = pytest.importorskip("torch")
    lstm = nn.LSTM(3, 4, 2, dtype="float64", generator=Generator(1))
    x = randn(6, 2, 3)
    flows = inspect.gradient_flow(lstm, lambda: (lstm(x)[0] ** 2).sum())
    cells = [torch.nn.LSTMCell(size, 4, dtype=torch.float64) for size in (3, 4)]
    for k, cell in enumerate(cells):
        for name, parameter in cell.named_parameters():
            parameter.data = torch.from_numpy(np.array(getattr(lstm, f"{name}_l{k}").numpy()))
    states = [(torch.zeros(2, 4, dtype=torch.float64),) * 2 for _ in cells]
    kept: list[list[Any]] = [[], []]
    total = 0.0
    for t in range(6):
        below = torch.from_numpy(np.array(x.numpy()[t]))
        for k, cell in enumerate(cells):
            h, c = cell(below, states[k])
            states[k] = (h, c.clone())  # h was made of c; its copy goes to the next step alone
            for part in states[k]:
                part.retain_grad()
            kept[k].append(states[k])
            below = states[k][0]
        total = total + (below**2).sum()
    total.backward()
    for k, flow in enumerate(flows):
        assert flow.dc is not None
        for t in range(6):
            h, c = kept[k][t]
            np.testing.assert_allclose(flow.dh[t], h.grad.numpy(), rtol=1e-10, atol=1e-14)
            np.testing.assert_allclose(flow.dc[t], 0 if c.grad is None else c.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_products_of_jacobians_are_powers_of_linear_weights_and_those_of_central_differences() -> None:
    rnn = linear_rnn(bidirectional=True)
    with inspect.watched(rnn) as watch:
        rnn(randn(8, 1, 3))
    forward, backward = watch.layers
    for layer, weight in ((forward, rnn.weight_hh_l0), (backward, rnn.weight_hh_l0_reverse)):
        first, last = (6, 1) if layer.reverse else (1, 6)
        want = np.linalg.matrix_power(weight.numpy(), 5)
        np.testing.assert_allclose(inspect.state_jacobian(layer, first, last), want, rtol=1e-11, atol=1e-15)
        np.testing.assert_array_equal(inspect.state_jacobian(layer, 3, 3), np.eye(4))
        with pytest.raises(ValueError, match="in the layer's direction"):
            inspect.state_jacobian(layer, last, first)
    gru, x = nn.GRU(3, 4, dtype="float64", generator=Generator(1)), randn(5, 1, 3)
    with inspect.watched(gru) as watch:
        gru(x)
    [layer] = watch.layers
    columns = []
    for unit in range(4):
        ends = []
        for eps in (1e-6, -1e-6):
            h = layer.h[1].copy()
            h[0, unit] += eps
            ends.append(gru(Tensor(x.numpy()[2:]), Tensor(h[None]))[0].numpy()[-1, 0])
        columns.append((ends[0] - ends[1]) / 2e-6)
    np.testing.assert_allclose(inspect.state_jacobian(layer, 1, 4), np.stack(columns, axis=1), atol=1e-9)


def test_power_iterations_agree_with_the_decompositions() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 40):
        matrix = rng.normal(size=(size, size)) / np.sqrt(size)
        count = min(3, size)
        values = inspect.largest_singular_values(matrix, count, iterations=200)
        np.testing.assert_allclose(values, inspect.singular_values(matrix, count), rtol=1e-6)
        exact = inspect.spectral_radius(matrix)
        assert exact * (1 - 1e-12) <= inspect.spectral_radius_by_powers(matrix) <= exact * 1.01
    assert inspect.spectral_radius_by_powers(np.triu(np.ones((4, 4)), 1)) == 0.0  # nilpotent
    huge = inspect.spectral_radius_by_powers(np.float32(1e3) * np.eye(3, dtype=np.float32))
    assert huge == pytest.approx(1e3, rel=2e-3)
    lstm = nn.LSTM(3, 20, generator=Generator(1))
    for exact_one, quick in zip(
        inspect.recurrent_spectra(lstm), inspect.recurrent_spectra(lstm, exact=False), strict=True
    ):
        assert quick.radius == pytest.approx(exact_one.radius, rel=0.01)
        assert quick.norm == pytest.approx(exact_one.norm, rel=0.01)


def test_lyapunov_exponents_of_a_linear_network_are_those_of_its_eigenvalues() -> None:
    rnn = linear_rnn(3)
    with rnncore.no_grad():
        basis = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        rnn.weight_hh_l0.copy_(Tensor(basis @ np.diag([1.5, 0.7, -0.2]) @ basis.T))
    with inspect.watched(rnn) as watch:
        rnn(randn(60, 1, 3))
    [layer] = watch.layers
    np.testing.assert_allclose(inspect.lyapunov_exponents(layer, skip=20), np.log([1.5, 0.7, 0.2]), atol=1e-9)
    np.testing.assert_allclose(inspect.lyapunov_exponents(layer, count=1, skip=20), np.log([1.5]), atol=1e-9)
    [spectrum] = inspect.recurrent_spectra(rnn)
    assert (spectrum.layer, spectrum.gate) == ("l0", "h")
    np.testing.assert_allclose([spectrum.radius, spectrum.norm], [1.5, 1.5], rtol=1e-12)


def test_lyapunov_exponents_sum_to_the_mean_log_determinant() -> None:
    gru = nn.GRU(3, 4, bidirectional=True, dtype="float64", generator=Generator(1))
    with inspect.watched(gru) as watch:
        gru(randn(15, 1, 3))
    for layer in watch.layers:
        logs = [np.linalg.slogdet(inspect.step_jacobian(layer, t))[1] for t in range(15)]
        np.testing.assert_allclose(inspect.lyapunov_exponents(layer).sum(), np.mean(logs), rtol=1e-10)


def test_spectra_are_of_each_gate_of_each_layer() -> None:
    lstm = nn.LSTM(3, 4, 2, proj_size=2, bidirectional=True, dtype="float64", generator=Generator(1))
    spectra = inspect.recurrent_spectra(nn.Sequential(lstm))
    assert [(s.layer, s.gate) for s in spectra[3:6]] == [("0.l0", "o"), ("0.l0_reverse", "i"), ("0.l0_reverse", "f")]
    block = lstm.weight_hh_l1_reverse.numpy()[8:12] @ lstm.weight_hr_l1_reverse.numpy()
    assert spectra[14].radius == pytest.approx(np.abs(np.linalg.eigvals(block)).max(), rel=1e-12)
    assert spectra[14].norm == pytest.approx(np.linalg.norm(block, 2), rel=1e-12)
    indrnn = nn.IndRNN(3, 4, dtype="float64", generator=Generator(1))
    assert inspect.recurrent_spectra(indrnn)[0].radius == np.abs(indrnn.weight_u_l0.numpy()).max()


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("batch", [1, 2])  # one row has a kernel of its own
def test_gates_are_those_of_the_equations(batch: int) -> None:
    x = randn(5, batch, 3)
    for module in (STACKS["lstm"](), STACKS["gru"](), STACKS["gru_before"](), STACKS["mgu"](), STACKS["rnn"]()):
        with inspect.watched(module) as watch:
            module(x)
        layer = watch.layers[0]
        own = {name: value.numpy() for name, value in module.named_parameters()}
        entering = np.concatenate([layer.h_0[None], layer.h[:-1]])
        a_x = layer.x @ own["weight_ih_l0"].T + own["bias_ih_l0"]
        a_h = entering @ own["weight_hh_l0"].T + own["bias_hh_l0"]
        parts = dict(zip(layer.gates, np.split(a_x, len(layer.gates), axis=2), strict=True))
        recurrent = dict(zip(layer.gates, np.split(a_h, len(layer.gates), axis=2), strict=True))
        got = {gate: layer.gate_values[:, :, i] for i, gate in enumerate(layer.gates)}
        for gate in set(layer.gates) - set("nh"):
            activation = np.tanh if gate == "g" else sigmoid
            np.testing.assert_allclose(got[gate], activation(parts[gate] + recurrent[gate]), rtol=1e-10)
        if layer.gates == "rzn" and module.spec.cell == "gru":
            np.testing.assert_allclose(got["n"], np.tanh(parts["n"] + got["r"] * recurrent["n"]), rtol=1e-10)
        if layer.gates == "h":
            np.testing.assert_allclose(got["h"], layer.h, rtol=1e-12)


def test_gate_use_counts_and_dead_units() -> None:
    gru = nn.GRU(3, 4, dtype="float64", generator=Generator(1))
    with rnncore.no_grad():
        bias = gru.bias_ih_l0.numpy().copy()
        bias[1], bias[4 + 2] = -50.0, 50.0  # r of unit 1 closed; z of unit 2 open: it keeps h = 0
        gru.bias_ih_l0.copy_(Tensor(bias))
    with inspect.watched(gru) as watch:
        gru(randn(7, 3, 3))
    [layer] = watch.layers
    r, z, n = inspect.gate_use(layer, bins=10)
    assert [use.gate for use in (r, z, n)] == ["r", "z", "n"]
    assert all(use.counts.sum() == 7 * 3 * 4 for use in (r, z, n))
    assert r.left[1] == 1.0
    assert z.right[2] == 1.0
    assert r.left[0] == (layer.gate_values[:, :, 0, 0] < 0.1).mean()
    assert (n.edges[0], r.edges[0]) == (-1.0, 0.0)
    assert inspect.dead_units(layer) == [2]


def test_watching_leaves_no_trace() -> None:
    lstm = nn.LSTM(3, 4, 2, dropout=0.5, dtype="float64", generator=Generator(1))
    lstm.weight_hh_l1.requires_grad = False
    x = randn(5, 2, 3)
    plain = lstm.eval()(x)[0].numpy().copy()
    lstm.train()
    with inspect.watched(lstm) as watch:
        output = lstm(x)[0]
        np.testing.assert_array_equal(output.numpy(), plain)
        output.sum().backward()
    assert lstm.training
    assert lstm.probe is None
    assert all(parameter.grad is None for parameter in lstm.parameters())
    assert [name for name, p in lstm.named_parameters() if not p.requires_grad] == ["weight_hh_l1"]
    assert lstm.state_dict().keys() == nn.LSTM(3, 4, 2).state_dict().keys()
    assert watch.layer("l1").x.shape == (5, 2, 4)


def test_errors_say_what_is_wrong() -> None:
    lstm = nn.LSTM(3, 4)
    with pytest.raises(TypeError, match=r"\[inspect\] model: expected a module"), inspect.watched(3):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match="a recurrent stack inside"), inspect.watched(nn.Linear(2, 2)):
        pass
    with inspect.watched(lstm) as watch:
        with pytest.raises(ValueError, match="a call inside"):
            _ = watch.layers
        lstm(rnncore.zeros(5, 1, 3))
        with pytest.raises(ValueError, match="a gradient, got none"):
            _ = watch.layers[0].dh
        with pytest.raises(ValueError, match=r"expected l0, got 'l7'"):
            watch.layer("l7")
    with pytest.raises(ValueError, match=r"step: expected within \[0, 5\), got 5"):
        inspect.step_jacobian(watch.layers[0], 5)
    with pytest.raises(ValueError, match="steps: expected within"):
        inspect.gradient_lag(lstm, lambda: lstm(rnncore.zeros(5, 1, 3))[0].sum(2), steps=[9])
    normalised = nn.LSTM(3, 4, layer_norm=True)
    with inspect.watched(normalised) as watch:
        normalised(rnncore.zeros(5, 1, 3))
    with pytest.raises(ValueError, match="without layer_norm"):
        inspect.gate_use(watch.layers[0])
    mixed = nn.Recurrent(3, [nn.Layer("rnn-tanh", 4, delays=(2,), group_periods=(1, 2))])
    with inspect.watched(mixed) as watch:
        mixed(rnncore.zeros(5, 1, 3))
    with pytest.raises(ValueError, match="a layer without both"):
        inspect.step_jacobian(watch.layers[0], 1)


def test_delays_carry_gradients_past_the_step_before() -> None:
    """h_t = w h_(t-1) + u h_(t-3), one unit: dh_T/dh_t follows the recursion g_k = w g_(k-1) + u g_(k-3)."""
    stack = nn.Recurrent(
        1,
        [nn.Layer("rnn", 1, delays=(3,), options={"activations": {"candidate": {"kind": "affine", "alpha": 1.0}}})],
        dtype="float64",
        generator=Generator(2),
    )
    w, u = stack.weight_hh_l0.item(), stack.weight_delay_l0_d3.item()
    x = randn(9, 1, 1)
    [flow] = inspect.gradient_flow(stack, lambda: stack(x)[0][8].sum())
    g = [1.0]
    for k in range(1, 9):
        g.append(w * g[k - 1] + (u * g[k - 3] if k >= 3 else 0.0))
    np.testing.assert_allclose(flow.dh[::-1, 0, 0], g, rtol=1e-12)


def test_update_ratios_and_clipping() -> None:
    layer = nn.Linear(2, 1, generator=Generator(1))
    before = layer.weight.numpy().copy()
    with inspect.update_ratios(layer) as ratios, rnncore.no_grad():
        layer.weight.copy_(Tensor(before * np.float32(1.25)))
    assert ratios == {"weight": pytest.approx(0.25), "bias": 0.0}
    records = [
        {"event": "step", "step": 10, "grad_norm": 2.0, "clipped": 0.5},
        {"event": "epoch", "step": 10},
        {"event": "step", "step": 40, "grad_norm": None, "clipped": 0.1},
    ]
    found = inspect.clipping(records)
    assert found.share == pytest.approx((5 + 3) / 40)
    np.testing.assert_array_equal(found.norms, [2.0, np.nan])
    with pytest.raises(ValueError, match="at least one step"):
        inspect.clipping([])


@pytest.mark.parametrize("module", ["dynamics", "flow", "health", "saliency", "units", "watch", ""])
def test_examples_in_docstrings_run(module: str) -> None:
    path = f"rnncore.inspect.{module}" if module else "rnncore.inspect"
    assert doctest.testmod(importlib.import_module(path)).failed == 0


def test_lag_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from rnncore import plot

    rnn = linear_rnn()
    [profile] = inspect.gradient_lag(rnn, lambda: rnn(randn(6, 1, 3))[0].sum(2))
    plot.lag_curves({"linear": profile}, tmp_path / "lag.svg")
    assert (tmp_path / "lag.svg").stat().st_size > 5000
    with pytest.raises(ValueError, match="at least one with a gradient"):
        plot.lag_curves({}, tmp_path / "lag.svg")
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        plot.lag_curves({"linear": profile}, tmp_path / "lag.nothing")
