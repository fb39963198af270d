"""The report's style sheet: colours for light and dark, one column on a phone."""

from __future__ import annotations

_LIGHT = ("#1f5fa8", "#c8452f", "#2d8a4e", "#8a5cb8", "#b8860b", "#0f8f93", "#c2508f", "#5d6b7a")
_DARK = ("#6aa9f0", "#f08a70", "#6fcf8f", "#c0a0ea", "#e0b84c", "#5cd0d4", "#f092c4", "#a9b6c4")


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(f"--c{index}:{colour};" for index, colour in enumerate(colours))


def _levels() -> str:
    rules = []
    for level in range(1, 9):
        rules.append(f".r{level}{{background:rgb(226 60 40/{level / 10:.1f})}}")
        rules.append(f".u{level}{{background:rgb(40 110 226/{level / 10:.1f})}}")
    return "".join(rules)


_PAGE = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:1200px;padding:1rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .6rem;overflow-wrap:anywhere}
header p{margin:.1rem 0 1rem;color:var(--soft)}
.grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr))}
figure{margin:0;padding:.8rem;background:var(--card);border:1px solid var(--line);border-radius:8px;min-width:0}
figure.wide{margin-bottom:1rem}
figcaption{font-weight:600;margin-bottom:.3rem;overflow-wrap:anywhere}
figcaption small{color:var(--soft);font-weight:400}
svg{display:block;width:100%;height:auto}
svg text{font:14px system-ui,sans-serif;fill:var(--soft)}
svg .n{font-style:italic}
.g{stroke:var(--line);stroke-width:1}
.l{fill:none;stroke-width:2;stroke-linejoin:round}
.l.f{stroke-width:1;opacity:.35}
.b{fill:var(--c0)}
.legend{font-size:.9rem;color:var(--soft)}
.k{white-space:nowrap;margin-right:.8rem}
.k b{color:var(--fg);font-weight:600}
.k::before{content:'';display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em}
.scale{color:var(--fg);white-space:nowrap}
.bar{display:inline-block;width:6em;height:.7em;margin:0 .4em;border-radius:2px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.95rem}
th{text-align:left;font-weight:600;color:var(--soft)}
td,th{padding:.15rem .8rem .15rem 0;vertical-align:top}
td{overflow-wrap:anywhere}
table.attention td{width:1.6em;min-width:1.6em;padding:0;border:1px solid var(--line)}
table.attention th{padding:0 .4em}
details{margin:.4rem 0}
summary{cursor:pointer;color:var(--soft)}
pre.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0;font:14px/1.6 ui-monospace,monospace}
s{text-decoration:none;border-radius:2px}
li{overflow-wrap:anywhere}
"""


def _numbered() -> str:
    """A colour for each curve: its line, its points, its mark in the legend."""
    rules = ".s{0}{{stroke:var(--c{0})}}.p.s{0}{{fill:var(--c{0})}}.k.c{0}::before{{background:var(--c{0})}}"
    return "".join(rules.format(index) for index in range(8))


_PLAIN_LIGHT = "--bg:#fff;--fg:#1b2430;--soft:#5b6673;--line:#dfe4ea;--card:#f7f9fb;"
_PLAIN_DARK = "--bg:#12161c;--fg:#e6ebf1;--soft:#9aa7b5;--line:#2b333d;--card:#1a2028;"
STYLE = (
    f":root{{color-scheme:light dark;{_PLAIN_LIGHT}{_variables(_LIGHT)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_PLAIN_DARK}{_variables(_DARK)}}}}}" + _PAGE + _numbered() + _levels()
)
