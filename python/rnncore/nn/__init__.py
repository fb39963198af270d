"""Modules with PyTorch's names, arguments and parameter names, so that its `state_dict`s load as they are.

Parameters are drawn from `generator=`, which every module takes; one generator passed to all modules of a model makes
it repeatable. A module made without one seeds its own from the operating system (there is no global generator).
"""

from rnncore.nn import functional, init
from rnncore.nn.activations import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from rnncore.nn.attention import Attention
from rnncore.nn.cells import GRUCell, IndRNNCell, LSTMCell, MGUCell, RNNCell
from rnncore.nn.containers import ModuleList, Sequential
from rnncore.nn.gated import MGU, IndRNN
from rnncore.nn.labelling import CRF
from rnncore.nn.layers import Dropout, Embedding, LayerNorm, Linear
from rnncore.nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    CTCLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    QuantileLoss,
)
from rnncore.nn.module import Module, Parameter
from rnncore.nn.recurrent import GRU, LSTM, RNN
from rnncore.nn.stack import Layer, Recurrent, State
from rnncore.nn.vocabularies import AdaptiveLogSoftmaxWithLoss, ClassSoftmax

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "MGU",
    "RNN",
    "AdaptiveLogSoftmaxWithLoss",
    "Attention",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "ClassSoftmax",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "L1Loss",
    "LSTMCell",
    "Layer",
    "LayerNorm",
    "Linear",
    "LogSoftmax",
    "MGUCell",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "QuantileLoss",
    "RNNCell",
    "ReLU",
    "Recurrent",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "State",
    "Tanh",
    "functional",
    "init",
]
