"""The report in a real browser, headless: no error on the console, every figure visible, on a phone, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from test_report import run  # noqa: F401  # a fixture

from rnncore.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium (scripts/install-system-packages --browser)")

PROBE = """<script>
const seen = [...document.querySelectorAll("figure")].map(figure => {
  const box = figure.getBoundingClientRect(), drawn = figure.querySelector("svg,pre,table").getBoundingClientRect();
  const lines = [...figure.querySelectorAll("polyline,image,rect")].map(part => part.getBoundingClientRect());
  return {title: figure.querySelector("figcaption").textContent, left: box.left, right: box.right,
          width: drawn.width, height: drawn.height, marks: lines.filter(line => line.width + line.height > 1).length,
          parts: lines.length};
});
const page = document.documentElement;
const out = document.createElement("pre");
out.id = "probe";
out.textContent = JSON.stringify({seen, inner: innerWidth, scroll: page.scrollWidth,
  background: getComputedStyle(document.body).backgroundColor});
document.body.append(out);
</script>"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [500, 1280])
def test_every_figure_is_visible(run: Path, tmp_path: Path, width: int, dark: bool) -> None:  # noqa: F811
    page = write_report([run], tmp_path / "page.html")
    if width < 600:  # a window is at least 500 wide: the page is put into a frame as wide as a phone
        text = page.read_text(encoding="utf-8").replace("<body>", '<body style="width:360px;margin:0">')
    else:
        text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={width},900", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    [found] = re.findall(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    probe = json.loads(unescape(found))
    assert probe["background"] == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert len(probe["seen"]) >= 15
    assert probe["scroll"] <= probe["inner"]
    edge = 360 if width < 600 else probe["inner"]
    for figure in probe["seen"]:
        assert 0 <= figure["left"] < figure["right"] <= edge, figure
        assert figure["width"] > 250, figure
        assert figure["height"] > 40, figure
        assert figure["marks"] > 0 or figure["parts"] == 0, figure
