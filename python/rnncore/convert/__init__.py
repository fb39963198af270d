"""Models of other frameworks: PyTorch, ONNX, Keras 3 and the JSON files of real-time audio engines.

>>> import rnncore
>>> from rnncore import convert
>>> state = {"weight_ih_l0": [[0.5]], "weight_hh_l0": [[-1.0]]}
>>> convert.from_torch({name: rnncore.tensor(value) for name, value in state.items()})
RNN(1, 1, num_layers=1, cell='rnn-tanh', bias=False)

Nothing is imported before it is used; `onnx` and `h5py` are optional extras, torch is never needed for safetensors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnncore.convert._errors import ConversionError as ConversionError
    from rnncore.convert._verify import verify as verify
    from rnncore.convert.audio_json import from_json as from_json
    from rnncore.convert.chain import Chain as Chain
    from rnncore.convert.graph import Graph as Graph
    from rnncore.convert.keras_import import from_keras as from_keras
    from rnncore.convert.model_files import load_chain as load_chain
    from rnncore.convert.model_files import save_chain as save_chain
    from rnncore.convert.onnx_export import to_onnx as to_onnx
    from rnncore.convert.onnx_import import from_onnx as from_onnx
    from rnncore.convert.pytorch import from_torch as from_torch
    from rnncore.convert.to_pytorch import to_torch as to_torch

_HOME = {
    "Chain": "chain",
    "ConversionError": "_errors",
    "Graph": "graph",
    "from_json": "audio_json",
    "load_chain": "model_files",
    "save_chain": "model_files",
    "from_keras": "keras_import",
    "from_onnx": "onnx_import",
    "from_torch": "pytorch",
    "to_onnx": "onnx_export",
    "to_torch": "to_pytorch",
    "verify": "_verify",
}

__all__ = [
    "Chain",
    "ConversionError",
    "Graph",
    "from_json",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load_chain",
    "save_chain",
    "to_onnx",
    "to_torch",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"rnncore.convert.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rnncore.convert' has no attribute {name!r}")
