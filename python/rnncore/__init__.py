"""rnncore: train and run recurrent networks. A C++ engine with PyTorch's names on top.

>>> import rnncore
>>> from rnncore import nn
>>> lstm = nn.LSTM(3, 5, generator=rnncore.Generator(1))
>>> output, (h_n, c_n) = lstm(rnncore.zeros(7, 2, 3))
>>> output.shape
(7, 2, 5)

Importing it is cheap: submodules, and numpy, load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rnncore._core import (
    Generator,
    RecurrentSpec,
    Stream,
    Tensor,
    abs,
    add,
    argmax,
    cat,
    chunk,
    clip_grad_norm_,
    clip_grad_value_,
    div,
    exp,
    get_num_threads,
    load_tensors,
    log,
    log_softmax,
    matmul,
    mean,
    mul,
    neg,
    pow,
    relu,
    sample,
    save_tensors,
    set_num_threads,
    set_target,
    sigmoid,
    softmax,
    sqrt,
    stack,
    sub,
    sum,
    supported_targets,
    tanh,
    target_name,
    topk,
    transpose,
)
from rnncore._core import version as _version
from rnncore._explain import explain
from rnncore._grad import enable_grad, is_grad_enabled, no_grad
from rnncore._tensor import (
    arange,
    as_tensor,
    empty,
    from_dlpack,
    from_numpy,
    full,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    squeeze,
    tensor,
    unsqueeze,
    zeros,
    zeros_like,
)

if TYPE_CHECKING:
    from rnncore import nn as nn
    from rnncore import optim as optim

__version__ = _version()

float32 = "float32"
float64 = "float64"
double = "float64"
int64 = "int64"
long = "int64"
uint8 = "uint8"

_SUBMODULES = frozenset(
    {
        "beam",
        "cli",
        "convert",
        "data",
        "generate",
        "inspect",
        "metrics",
        "models",
        "nn",
        "optim",
        "plot",
        "report",
        "train",
    }
)

__all__ = [
    "Generator",
    "RecurrentSpec",
    "Stream",
    "Tensor",
    "__version__",
    "abs",
    "add",
    "arange",
    "argmax",
    "as_tensor",
    "cat",
    "chunk",
    "clip_grad_norm_",
    "clip_grad_value_",
    "div",
    "double",
    "empty",
    "enable_grad",
    "exp",
    "explain",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "get_num_threads",
    "int64",
    "is_grad_enabled",
    "load_tensors",
    "log",
    "log_softmax",
    "long",
    "matmul",
    "mean",
    "mul",
    "neg",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "pow",
    "rand",
    "randint",
    "randn",
    "relu",
    "sample",
    "save_tensors",
    "set_num_threads",
    "set_target",
    "sigmoid",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "supported_targets",
    "tanh",
    "target_name",
    "tensor",
    "topk",
    "transpose",
    "uint8",
    "unsqueeze",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"rnncore.{name}")
    raise AttributeError(f"module 'rnncore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
