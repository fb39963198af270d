"""Attention beside PyTorch, outputs and all gradients; the module's three scores; what must not depend on padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import nn
from rnncore.nn import functional as F

SCORES = ("dot", "bilinear", "additive")
LENGTHS = [9, 4, 1, 7]


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def torch_attention(module: nn.Attention, parameters: dict[str, Any], query: Any, memory: Any) -> tuple[Any, Any]:
    """The same written with PyTorch's operations."""
    torch = pytest.importorskip("torch")
    q, m = query.transpose(0, 1), memory.transpose(0, 1)  # (N, T, ...)
    if module.score == "additive":
        mixed = (q @ parameters["weight_query"].T)[:, :, None] + (m @ parameters["weight_key"].T)[:, None]
        scores = torch.tanh(mixed) @ parameters["v"]
    else:
        scores = q @ (m @ parameters["weight"].T if module.score == "bilinear" else m).transpose(1, 2)
    beyond = torch.arange(m.shape[1])[None, None, :] >= torch.tensor(LENGTHS)[:, None, None]
    weights = torch.softmax(scores.masked_fill(beyond, -torch.inf), -1)
    return (weights @ m).transpose(0, 1), weights.transpose(0, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("score", SCORES)
def test_outputs_and_all_gradients_are_pytorchs(score: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    size = 6 if score == "dot" else 5
    module = nn.Attention(size, 6, score, size=7, dtype=dtype, generator=rnncore.Generator(3))
    values = {"query": numbers(3, 4, size).astype(dtype), "memory": numbers(9, 4, 6).astype(dtype)}
    ours = {name: rnncore.Tensor(value, requires_grad=True) for name, value in values.items()}
    context, weights = module(ours["query"], ours["memory"], LENGTHS)
    factors = [numbers(*part.shape, seed=1).astype(dtype) for part in (context, weights)]
    ((context * factors[0]).sum() + (weights * factors[1]).sum()).backward()

    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    parameters = {
        name: torch.tensor(np.array(value.numpy()), requires_grad=True) for name, value in module.named_parameters()
    }
    wanted = torch_attention(module, parameters, theirs["query"], theirs["memory"])
    sum((part * torch.tensor(factor)).sum() for part, factor in zip(wanted, factors, strict=True)).backward()
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-5, "atol": 2e-6}
    for got, want in zip((context, weights), wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), want.detach().numpy(), **close)
    pairs = [(ours[name].grad, theirs[name].grad) for name in values]
    pairs += [(value.grad, parameters[name].grad) for name, value in module.named_parameters()]
    assert len(pairs) == {"dot": 2, "bilinear": 3, "additive": 5}[score]
    for got, want in pairs:
        np.testing.assert_allclose(got.numpy(), want.numpy(), **close)


@pytest.mark.parametrize("score", SCORES)
def test_queries_side_by_side_are_the_queries_alone(score: str) -> None:
    """As a beam asks: its hypotheses are the queries of one sequence; bit for bit what each one gets by itself."""
    module = nn.Attention(8, 8, score, generator=rnncore.Generator(0))
    query, memory = numbers(5, 4, 8).astype(np.float32), rnncore.Tensor(numbers(9, 4, 8).astype(np.float32))
    keys = module.keys(memory)
    context, weights = module(rnncore.Tensor(query), memory, LENGTHS, keys=keys)
    for t in range(5):
        one, own = module(rnncore.Tensor(query[t : t + 1]), memory, LENGTHS)
        assert np.array_equal(one.numpy()[0], context.numpy()[t])
        assert np.array_equal(own.numpy()[0], weights.numpy()[t])
    for n, length in enumerate(LENGTHS):
        assert not weights.numpy()[:, n, length:].any()
    np.testing.assert_allclose(weights.numpy().sum(-1), 1, atol=1e-6)


def test_a_module_is_saved_and_loaded() -> None:
    for score in SCORES:
        module, other = (nn.Attention(4, 4, score, generator=rnncore.Generator(seed)) for seed in (0, 1))
        other.load_state_dict(module.state_dict())
        query, memory = rnncore.Tensor(numbers(2, 1, 4)), rnncore.Tensor(numbers(3, 1, 4))
        both = [one.to("float32") for one in (query, memory)]
        assert np.array_equal(module(*both)[0].numpy(), other(*both)[0].numpy())


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"score: expected dot \| bilinear \| additive"):
        nn.Attention(3, 3, "cosine")
    with pytest.raises(ValueError, match="key_size: expected query_size = 3, got 4"):
        nn.Attention(3, 4, "dot")
    with pytest.raises(ValueError, match=r"\[attention\] lengths\[1\]: expected 0 <= length <= Ts = 2, got 3"):
        F.attention(rnncore.zeros(1, 2, 3), rnncore.zeros(2, 2, 3), rnncore.zeros(2, 2, 3), [1, 3])
    with pytest.raises(ValueError, match=r"\[attention\] keys"):
        F.attention(rnncore.zeros(1, 2, 3), rnncore.zeros(2, 1, 3), rnncore.zeros(2, 2, 3))
