"""To PyTorch: the torch.nn module that computes what a module of rnncore computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import nn
from rnncore.convert._errors import need, refusal
from rnncore.convert.chain import leaves_of

_OPERATION = "to_torch"


def to_torch(module: nn.Module) -> Any:
    """The torch.nn.Module that computes what `module` computes, with its weights.

    Args:
        module: RNN, LSTM, GRU, their cells, Embedding, Linear, LayerNorm, Dropout, activations, a `Sequential` or
            `Chain` of them, or a `models.LanguageModel`.

    Returns:
        The module of the same name. Chains and language models become a torch module that calls its layers in order and
        returns the last output, with the same parameter names; tied weights stay tied.

    Raises:
        ConversionError: naming the layer that torch.nn does not have.
        ImportError: torch is not installed.
    """
    torch = need(_OPERATION, "torch", "")
    leaves = leaves_of(module)
    if list(leaves) == [""]:
        return _single(torch, module, type(module).__name__)
    chain = _chain(torch, leaves)
    chain.training = module.training  # the layers have their own
    return chain


def _chain(torch: Any, leaves: Mapping[str, nn.Module]) -> Any:
    class TorchChain(torch.nn.Module):  # type: ignore[misc]
        """Layers one after the other; of recurrent ones the output goes on."""

        def forward(self, input: Any) -> Any:
            for path in leaves:
                layer = self.get_submodule(path)
                input = layer(input)
                input = input[0] if isinstance(layer, torch.nn.RNNBase) else input
            return input

    chain = TorchChain()
    first: dict[int, Any] = {}  # tied parameters are one object, here as there
    for path, ours in leaves.items():
        theirs = _single(torch, ours, f"layer {path!r} ({type(ours).__name__})")
        for name, parameter in ours.named_parameters():
            setattr(theirs, name, first.setdefault(id(parameter), getattr(theirs, name)))
        _place(torch, chain, path, theirs)
    return chain


def _place(torch: Any, root: Any, path: str, module: Any) -> None:
    """Sets root.a.b = module for the path "a.b"."""
    *holders, last = path.split(".")
    for name in holders:
        if not hasattr(root, name):
            root.add_module(name, torch.nn.Module())
        root = getattr(root, name)
    root.add_module(last, module)


def _single(torch: Any, ours: nn.Module, place: str) -> Any:
    kind = type(ours)
    if kind not in _BUILDERS:
        known = ", ".join(builder.__name__ for builder in _BUILDERS)
        raise refusal(
            _OPERATION,
            place,
            f"one of rnncore.nn's {known}",
            kind.__name__,
            "others have no counterpart in a chain of torch.nn",
        )
    values = {name: torch.from_numpy(np.array(value.numpy())) for name, value in ours.state_dict().items()}
    dtype = next((value.dtype for value in values.values()), torch.float32)
    name, arguments, options = _BUILDERS[kind](ours, place)
    if kind in _WITH_WEIGHTS:
        options["dtype"] = dtype
    theirs = getattr(torch.nn, name)(*arguments, **options)
    theirs.load_state_dict(values)
    for own, parameter in ours.named_parameters():
        getattr(theirs, own).requires_grad_(parameter.requires_grad)
    return theirs.train(ours.training)


# What torch.nn calls the layer, and its arguments --------------------------------------------------------

_Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def _recurrent(ours: Any, place: str) -> _Call:
    sizes = set(ours.spec.hidden_sizes)
    if len(sizes) > 1:
        raise refusal(_OPERATION, place, "layers of one size", str(ours.spec.hidden_sizes), "torch.nn has no others")
    options = {name: getattr(ours, name) for name in ("num_layers", "bias", "batch_first", "dropout", "bidirectional")}
    name = _torch_cell(ours, place)
    if name == "RNN":
        options["nonlinearity"] = ours.nonlinearity
    if name == "LSTM":
        options["proj_size"] = ours.proj_size
    return name, (ours.input_size, sizes.pop()), options


def _cell(ours: Any, place: str) -> _Call:
    name = _torch_cell(ours, place)
    if ours.spec.proj_size:
        raise refusal(_OPERATION, place, "no projection", f"proj_size={ours.spec.proj_size}", "torch.nn has none")
    options = {"nonlinearity": ours.nonlinearity} if name == "RNN" else {}
    return f"{name}Cell", (ours.input_size, ours.hidden_size, ours.bias), options


def _torch_cell(ours: Any, place: str) -> str:
    names = {"rnn-tanh": "RNN", "rnn-relu": "RNN", "lstm": "LSTM", "gru": "GRU"}
    options = getattr(ours.spec, "options", None)
    if options:
        raise refusal(_OPERATION, place, "no options of the cell", ", ".join(options), "torch.nn has none of them")
    if ours.spec.cell not in names:
        raise refusal(_OPERATION, place, f"a cell of {list(names)}", repr(ours.spec.cell), "torch.nn has no others")
    return names[ours.spec.cell]


def _embedding(ours: Any, place: str) -> _Call:
    return "Embedding", (ours.num_embeddings, ours.embedding_dim, ours.padding_idx), {}


def _linear(ours: Any, place: str) -> _Call:
    return "Linear", (ours.in_features, ours.out_features, ours.bias is not None), {}


def _layer_norm(ours: Any, place: str) -> _Call:
    return "LayerNorm", (ours.size, ours.eps), {"bias": ours.bias is not None}


_BUILDERS: dict[type[nn.Module], Any] = {
    nn.RNN: _recurrent,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
    nn.RNNCell: _cell,
    nn.LSTMCell: _cell,
    nn.GRUCell: _cell,
    nn.Embedding: _embedding,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.Dropout: lambda ours, place: ("Dropout", (ours.p,), {}),
    nn.Tanh: lambda ours, place: ("Tanh", (), {}),
    nn.Sigmoid: lambda ours, place: ("Sigmoid", (), {}),
    nn.ReLU: lambda ours, place: ("ReLU", (), {}),
    nn.Softmax: lambda ours, place: ("Softmax", (ours.dim,), {}),
    nn.LogSoftmax: lambda ours, place: ("LogSoftmax", (ours.dim,), {}),
}
_WITH_WEIGHTS = frozenset(_BUILDERS) - {nn.Dropout, nn.Tanh, nn.Sigmoid, nn.ReLU, nn.Softmax, nn.LogSoftmax}
