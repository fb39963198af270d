"""One library in its own process: reads a JSON request a line, answers with a JSON line.

    {"do": "hello"}                     -> {"library": ..., "version": ..., "threads": ...}
    {"do": "prepare", "case": {...}}    -> {"seconds": one warm repetition}, or {"unsupported": why}
    {"do": "run", "repeats": n}         -> {"seconds": [n numbers]}
    {"do": "memory", "restart": false}  -> {"now_mib", "peak_mib"}: resident size, and its peak (since a restart)
    {"do": "quit"}

A failure answers {"error": text}; the process lives on. Between requests it sleeps in read(), so only the threads that
its OpenMP runtime leaves spinning could disturb the other library: the parent pauses for them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rncompare.cases import Case
from rncompare.peer import Peer, Run, UnsupportedError


def make_peer(library: str, threads: int) -> Peer:
    """Imports `library` and fixes its number of threads."""
    if library == "torch":
        from rncompare.torch_peer import TorchPeer

        return TorchPeer(threads)
    if library == "rnncore":
        from rncompare.rnncore_peer import RnncorePeer

        return RnncorePeer(threads)
    if library == "onnxruntime":
        from rncompare.onnx_peer import OnnxPeer

        return OnnxPeer(threads)
    raise ValueError(f"[compare] --peers: expected torch or onnxruntime, got {library}")


def warm_up(run: Run, seconds: float) -> float:
    """Repeats until `seconds` have passed (at least three times); returns the fastest repetition."""
    best, stop, count = float("inf"), time.perf_counter() + seconds, 0
    while count < 3 or time.perf_counter() < stop:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        count += 1
    return best


def timed(run: Run, repeats: int) -> list[float]:
    """Wall-clock seconds of each of `repeats` repetitions, the first of which is run but not counted.

    The extra one wakes the threads and the caches that the pause put to sleep.
    """
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def memory(restart: bool) -> dict[str, float]:
    """MiB of this process in memory, now and at most; `restart` makes the present size the new largest (Linux)."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    sizes = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {key: int(sizes[name].split()[0]) / 1024 for key, name in (("now_mib", "VmRSS"), ("peak_mib", "VmHWM"))}


def serve(peer: Peer, threads: int, answer_to: Any) -> None:
    """Answers requests until "quit" or the end of the input."""
    run: Run | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "quit":
                return
            if request["do"] == "hello":
                answer: dict[str, Any] = {"library": peer.name, "version": peer.version(), "threads": threads}
            elif request["do"] == "prepare":
                run = None
                gc.collect()
                run = peer.prepare(Case(**request["case"]))
                answer = {"seconds": warm_up(run, float(request.get("warm_up", 0.2)))}
            elif request["do"] == "run":
                if run is None:
                    raise RuntimeError("run before prepare")
                answer = {"seconds": timed(run, int(request["repeats"]))}
            elif request["do"] == "memory":
                answer = memory(bool(request.get("restart")))
            else:
                raise ValueError(f"unknown request {request['do']!r}")
        except UnsupportedError as reason:
            answer = {"unsupported": str(reason)}
        except Exception as error:  # the parent prints it beside the row and goes on with the others
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answer_to, flush=True)


def main() -> None:
    """Starts serving on standard input; the answers go to the original standard output alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    serve(make_peer(args.library, args.threads), args.threads, answer_to)


if __name__ == "__main__":
    main()
