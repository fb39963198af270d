"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from rnncore.report import figures, texts
from rnncore.report.figures import Figure
from rnncore.report.log import as_count, as_number
from rnncore.report.run import Run
from rnncore.report.style import STYLE
from rnncore.report.svg import legend, number, svg


def page(runs: Sequence[Run], *, units: bool = True) -> str:
    """The whole report of one run, or of several beside each other."""
    title = " · ".join(run.name for run in runs)
    body = [f"<header><h1>{escape(title)}</h1><p>{_when()}</p></header>", _summary(runs)]
    body.append(_section("Curves", _figures(figures.shared_charts(runs))))
    for run in runs:
        heading = f"{run.name}: " if len(runs) > 1 else ""
        own = figures.of_run(run)
        for name, keys in (
            ("Gradient flow", ("flow",)),
            ("Gates", ("gates",)),
            ("Recurrent weights", ("spectra",)),
            ("Updates and dead units", ("updates", "dead")),
        ):
            body.append(_section(heading + name, _figures([figure for figure in own if figure.key in keys])))
        body.append(_section(heading + "Samples over time", texts.samples(run)))
        body.append(_section(heading + "What units do", texts.units(run) if units else ""))
        body.append(_section(heading + "Attention", texts.attention(run)))
        body.append(_section(heading + "Configuration", _configuration(run)))
        body.append(_section(heading + "What is missing", _notes(run, own)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _when() -> str:
    from rnncore import __version__

    now = datetime.datetime.now(datetime.timezone.utc)
    return f"Report of {now:%Y-%m-%d %H:%M} UTC, rnncore {__version__}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _figures(found: Sequence[Figure]) -> str:
    parts = []
    for figure in found:
        small = " small" if isinstance(figure, figures.Bars) else ""
        label = figure.y_label if isinstance(figure, figures.Chart) and figure.y_label else ""
        unit = f" <small>{escape(label)}</small>" if label and label.lower() != figure.title.lower() else ""
        parts.append(f'<figure class="plot{small}"><figcaption>{escape(figure.title)}{unit}</figcaption>{svg(figure)}')
        parts.append(f'<div class="legend">{legend(figure)}</div></figure>')
    return f'<div class="grid">{"".join(parts)}</div>' if parts else ""


def _summary(runs: Sequence[Run]) -> str:
    table = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for facts in table for name in facts))
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs) if len(runs) > 1 else ""
    rows = [f"<tr><th></th>{head}</tr>"] if head else []
    for name in names:
        cells = "".join(f"<td>{escape(facts.get(name, ''))}</td>" for facts in table)
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<div class="scroll"><table class="facts">{"".join(rows)}</table></div>'


def _facts(run: Run) -> dict[str, str]:
    """What the run is and how far it came, in short."""
    log, facts = run.log, {}
    model, train = run.config.get("model"), run.config.get("train")
    if isinstance(model, dict):
        shape = [f"{model[key]}" for key in ("cell", "num_layers", "hidden_size") if key in model]
        facts["model"] = f"{str(run.config.get('task', 'model')).replace('_', ' ')}: " + " × ".join(shape)
    if isinstance(train, dict) and "optimizer" in train:
        facts["training"] = f"{train['optimizer']}, rate {train.get('lr')}, batch {train.get('batch')}"
    steps, losses = log.column("step"), log.column("loss")
    epochs = log.events("epoch")
    if len(steps):
        facts["updates"] = f"{as_count(steps[-1], len(steps)):,}"
        if np.isfinite(losses).any():
            facts["last training loss"] = number(float(losses[np.isfinite(losses)][-1]))
    if epochs:
        facts["epochs"] = f"{as_count(epochs[-1].get('epoch'), len(epochs)):,}"
        for name in ("valid_loss", "valid_perplexity", "valid_accuracy", "valid_f1"):
            values = [value for value in (as_number(e.get(name)) for e in epochs) if value == value]
            if values:
                best = max(values) if name in ("valid_accuracy", "valid_f1") else min(values)
                facts[f"best {name.removeprefix('valid_')} in validation"] = number(best)
    times = log.column("time")
    if np.isfinite(times).any():
        seconds = float(np.nanmax(times))
        is_sane = 0 <= seconds < 1e9
        facts["training time"] = str(datetime.timedelta(seconds=round(seconds))) if is_sane else f"{number(seconds)} s"
    norms, clipped = log.column("grad_norm"), log.column("clipped")
    if np.isfinite(norms).any():
        facts["gradient norm, median"] = number(float(np.nanmedian(norms)))
        facts["updates that were clipped"] = f"{np.nanmean(clipped):.1%}" if np.isfinite(clipped).any() else ""
    return {**facts, **_speed(run)}


def _speed(run: Run) -> dict[str, str]:
    rates = run.log.column("tokens_per_second")
    if not np.isfinite(rates).any():
        return {}
    median = float(np.nanmedian(rates))
    facts = {"items a second, median": f"{median:,.0f}"}
    machine, operations = run.config.get("environment"), as_number(run.config.get("operations_per_item"))
    gflops = as_number(machine.get("gflops") if isinstance(machine, dict) else None)
    if gflops > 0 and operations == operations:
        share = median * operations / (gflops * 1e9)
        peak = f"{gflops:,.0f} GFLOP/s (a matrix product before the run)"
        facts["share of peak"] = f"{share:.0%} of {peak}, 6 operations a weight and token"
        if share > 1:
            facts["share of peak"] = f"not known: more than {peak}, so the machine was busy then"
    return facts


def _configuration(run: Run) -> str:
    parts = []
    for name in ("environment", "model", "train", "source"):
        value = run.config.get(name)
        if isinstance(value, dict):
            cells = "".join(
                f"<tr><th>{escape(str(key))}</th><td>{escape(_value(item))}</td></tr>" for key, item in value.items()
            )
            is_open = " open" if name == "environment" else ""
            parts.append(f"<details{is_open}><summary>{name}</summary><table>{cells}</table></details>")
    return "".join(parts)


def _value(item: Any) -> str:
    text = str(item)
    return text if len(text) <= 200 else text[:200] + " …"


def _notes(run: Run, own: Sequence[Figure]) -> str:
    notes = list(run.notes)
    if not own and run.log.lines:
        notes.append("no lines of the instruments: train with --inspect N for gradient flow, gates and spectra")
    reasons = {str(look["missing"]) for look in run.log.events("inspect") if "missing" in look}
    notes += [f"the instruments could not see everything: {reason}" for reason in sorted(reasons)]
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""
