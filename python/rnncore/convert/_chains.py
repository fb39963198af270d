"""A graph that is a chain of layers, as a `Chain`: one that can be trained, streamed, saved and exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnncore import nn, no_grad
from rnncore._core import RecurrentSpec
from rnncore.convert._errors import ConversionError, refusal
from rnncore.convert._recurrent import module_of_spec
from rnncore.convert._verify import verify
from rnncore.convert.chain import RECURRENT, Chain, LastStep
from rnncore.convert.graph import Array, Graph, Port

_OPERATION = "chain"
_LAYERS = (nn.RNN, nn.LSTM, nn.GRU)  # what recurrent nodes and layers become
_BATCH, _STEPS = 3, 5
# Nodes that only move axes about or count: what they do is settled by running the chain beside the graph.
_MOVES = (
    "Identity", "Dropout", "Constant", "ConstantOfShape", "Shape", "Reshape", "Transpose", "Squeeze", "Unsqueeze",
    "Concat", "Split", "Slice", "Expand", "Cast", "Mul", "Gather", "NoMask",
)  # fmt: skip


def chain_of(graph: Graph) -> Chain:
    """See `Graph.chain`. The layers are found by reading; that they are the graph is found by running both."""
    named = _layers(graph)
    if not named:
        raise refusal(_OPERATION, graph.origin, "at least one layer", "none")
    inputs = _probe(graph, named[0][1])
    wanted = graph.run(*inputs)[0]
    reasons = []
    for batch_first in (False, True):
        for last in (False, True):
            try:
                chain = _build(named, batch_first, last)
                with no_grad():
                    verify(chain.eval()(inputs[0]).numpy(), wanted, tolerance=2e-6)
                return chain
            except (ConversionError, ValueError, TypeError, IndexError) as error:
                reasons.append(str(error))
    hint = "its layers alone do not compute what it computes"
    raise refusal(_OPERATION, graph.origin, "a chain of layers", reasons[0], hint)


def _layers(graph: Graph) -> list[tuple[str, nn.Module]]:
    """Names and modules in the order of the nodes."""
    found: list[tuple[str, nn.Module]] = []
    names = {id(module): name for name, module in graph.layers.named_children()}
    for node in graph.nodes:
        if node.plain is None and node.kind not in _MOVES:
            raise refusal(_OPERATION, f"{graph.origin}: {node}", "a layer that may stand in a chain", node.kind)
        for i, module in enumerate(node.plain or []):
            own = node.name if i == 0 else f"{node.name}.{type(module).__name__.lower()}"
            found.append((names.get(id(module), own), module))
    return found


def _probe(graph: Graph, first: nn.Module) -> list[Array]:
    """Random numbers for the first input, zeros for the initial states."""
    rng = np.random.default_rng(0)
    port = graph.inputs[0]
    shape = _sizes(port, graph.origin)
    if isinstance(first, nn.Embedding):
        ids = rng.integers(0, first.num_embeddings, shape if port.shape else (_STEPS, _BATCH))
        values = [ids.astype(np.int64)]
    else:
        values = [rng.standard_normal(shape).astype(port.dtype)]
    return values + [np.zeros(_sizes(other, graph.origin), other.dtype) for other in graph.inputs[1:]]


def _sizes(port: Port, origin: str) -> tuple[int, ...]:
    if port.shape is None:
        if port.dtype in ("any", "int64"):
            return (_STEPS, _BATCH)
        raise refusal(_OPERATION, f"{origin}: input {port.name!r}", "a shape", "none")
    free = [_STEPS, _BATCH] if len(port.shape) > 1 and port.shape[1] is None else [_BATCH, _BATCH]
    named = {"T": _STEPS, "N": _BATCH}
    sizes = []
    for i, size in enumerate(port.shape):
        known = size if isinstance(size, int) else named.get(str(size))
        sizes.append(known if known is not None else free[min(i, 1)])
    return tuple(sizes)


def _build(named: Sequence[tuple[str, nn.Module]], batch_first: bool, last: bool) -> Chain:
    """The chain with recurrent layers of one kind that follow one another made one stack."""
    layers: dict[str, nn.Module] = {}
    pending: list[tuple[str, Any]] = []

    def flush() -> None:
        if pending:
            layers[_unique(pending[0][0].removesuffix(".l0"), layers)] = stack_of(
                [one for _, one in pending], batch_first
            )
            pending.clear()

    directions = 1
    for name, module in named:
        if isinstance(module, _LAYERS):
            if pending and not _continues(pending[-1][1], module):
                flush()
            pending.append((name, module))
            directions = 2 if module.bidirectional else 1
            continue
        flush()
        if isinstance(module, LastStep):
            module = LastStep(directions, batch_first=batch_first)
        layers[_unique(name, layers)] = module
    flush()
    if last and not any(isinstance(module, LastStep) for module in layers.values()):
        layers = _with_last(layers, directions, batch_first)
    return Chain(layers)


def _with_last(layers: dict[str, nn.Module], directions: int, batch_first: bool) -> dict[str, nn.Module]:
    """The same with the last step taken after the last recurrent layer."""
    index = max((i for i, module in enumerate(layers.values()) if isinstance(module, RECURRENT)), default=-1)
    items = list(layers.items())
    items.insert(index + 1, (_unique("last", layers), LastStep(directions, batch_first=batch_first)))
    return dict(items)


def _unique(name: str, taken: dict[str, nn.Module]) -> str:
    while name in taken or hasattr(nn.Module, name):
        name += "_"
    return name


def _continues(below: Any, above: Any) -> bool:
    """Whether two layers may be one stack."""
    facts = [
        (type(one), one.spec.cell, one.spec.options, one.spec.proj_size, one.bias, one.bidirectional, one.dtype)
        for one in (below, above)
    ]
    return facts[0] == facts[1] and above.input_size == below.spec.output_size


def stack_of(layers: Sequence[Any], batch_first: bool) -> Any:
    """One module for layers of one kind on top of each other, with copies of their weights."""
    first = layers[0]
    sizes = [layer.spec.hidden_sizes[0] for layer in layers]
    spec = RecurrentSpec(
        first.spec.cell,
        first.input_size,
        sizes,
        bias=first.bias,
        bidirectional=first.bidirectional,
        options=first.spec.options,
        proj_size=first.spec.proj_size,
    )
    module = module_of_spec(spec, first.dtype, batch_first)
    state = {}
    for k, layer in enumerate(layers):
        for name, value in layer.state_dict().items():
            state[name.replace("_l0", f"_l{k}")] = value
    module.load_state_dict(state)
    return module.eval()
