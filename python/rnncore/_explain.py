"""Which kernel each recurrent layer of a model runs on, and what it costs: arithmetic and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from rnncore import _core


@dataclass(frozen=True)
class LayerCost:
    """One layer of one stack. Counts are of one step, all directions, padded units included.

    Attributes:
        module: Where the stack stands in the model ("" for the model itself).
        layer: From 0, bottom first.
        cell: The cell's name.
        kernel: The plain cell's kernel, the one with options, or that with rows normalised.
        target: Instruction set.
        multiply_adds: Of the products, for one sequence, forward. Training does three times as many.
        activations: Functions evaluated, for one sequence, forward.
        weight_bytes: Packed recurrent weights read at each step, whatever the batch.
        state_bytes: h and c of one sequence.
        saved_bytes: Kept for backward for one sequence, beside input and output.
    """

    module: str
    layer: int
    cell: str
    kernel: str
    target: str
    multiply_adds: float
    activations: float
    weight_bytes: float
    state_bytes: float
    saved_bytes: float


class Explanation(list[LayerCost]):
    """The layers' costs; prints as a table."""

    def __str__(self) -> str:
        columns = ("layer", "cell", "kernel", "target", "multiply-adds", "weights kB", "saved kB")
        rows = [columns] + [
            (
                f"{c.module}[{c.layer}]" if c.module else str(c.layer),
                c.cell,
                c.kernel,
                c.target,
                f"{c.multiply_adds:,.0f}",
                f"{c.weight_bytes / 1e3:,.1f}",
                f"{c.saved_bytes / 1e3:,.1f}",
            )
            for c in self
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        return "\n".join("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def explain(model: object) -> Explanation:
    """The cost of every recurrent layer in a model, as its kernels do the work.

    Args:
        model: A module, with recurrent modules anywhere inside.

    Returns:
        A list of LayerCost that prints as a table.

    Raises:
        TypeError: `model` is no module.

    >>> from rnncore import nn
    >>> [cost.kernel for cost in explain(nn.LSTM(8, 16, peephole=True))]
    ['lstm with options']
    """
    from rnncore import nn

    if not isinstance(model, nn.Module):
        raise TypeError(f"[explain] model: expected a module, got {type(model).__name__}")
    costs = Explanation()
    for name, module in model.named_modules():
        spec = getattr(module, "spec", None)
        if isinstance(spec, _core.RecurrentSpec):
            dtype = next(module.parameters()).dtype
            costs.extend(LayerCost(module=name, **row) for row in _core.explain(spec, dtype))
    return costs
