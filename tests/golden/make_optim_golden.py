"""Writes tests/cpp/optim_golden.h: parameters after four torch.optim steps for each option set.

Run with PyTorch installed: python tests/golden/make_optim_golden.py > tests/cpp/optim_golden.h
"""

import math

import torch

CASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "sgd_momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    "sgd_nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02}),
    "adamw": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.3}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.05, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.02}),
    "rmsprop_centered": (torch.optim.RMSprop, {"lr": 0.05, "alpha": 0.9, "centered": True, "momentum": 0.7}),
    "asgd": (torch.optim.ASGD, {"lr": 0.1, "lambd": 0.05, "alpha": 0.6, "t0": 1.0, "weight_decay": 0.01}),
    "adam_clip_norm": (torch.optim.Adam, {"lr": 0.05}),
    "sgd_clip_value": (torch.optim.SGD, {"lr": 0.1}),
}


def run(name: str) -> tuple[list[float], float]:
    kind, options = CASES[name]
    parameters = [
        torch.nn.Parameter(torch.tensor([math.cos(i + 10.0 * k) for i in range(n)], dtype=torch.float64))
        for k, n in enumerate((5, 3))
    ]
    optimizer = kind(parameters, **options)
    norm = 0.0
    for t in range(4):
        for k, p in enumerate(parameters):
            p.grad = torch.tensor(
                [2.0 * math.sin(1.0 + i + 3.0 * t + 7.0 * k) for i in range(p.numel())], dtype=torch.float64
            )
        if "clip_value" in name:
            torch.nn.utils.clip_grad_value_(parameters, 0.5)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.5 if "clip_norm" in name else 1e30))
        optimizer.step()
    return [float(v) for p in parameters for v in p.detach()], norm


print("// Made by tests/golden/make_optim_golden.py with PyTorch", torch.__version__.split("+")[0])
print("#pragma once\n")
print("namespace rnncore::test {\n")
print("struct OptimGolden {\n  const char* name;\n  double last_norm;\n  double parameters[8];\n};\n")
print("// clang-format off\ninline constexpr OptimGolden kOptimGoldens[] = {")
for case in CASES:
    values, norm = run(case)
    print(f'    {{"{case}", {norm!r},\n     {{{", ".join(repr(v) for v in values)}}}}},')
print("};\n// clang-format on\n\n}  // namespace rnncore::test")
