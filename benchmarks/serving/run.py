"""Measures the service; one command for all of `docs/serving.md`.

    python benchmarks/serving/run.py --docs docs                  # 40 minutes with the soak
    python benchmarks/serving/run.py --model tiny --seconds 3 --soak 0 --docs /tmp/docs

Needs the extras `serve` and `bench`. Client and server share the machine's cores. For each model:
`translate` in a process of its own; then the service and CTranslate2 behind the same frame, one
after the other: one request at a time, then open-loop load at rising shares of what `translate`
does, of one sentence a request and of 16. Then faults and a soak, of the service alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from client import Client, message, one_at_a_time, open_loop
from faults import run_faults
from servers import build, ours, peer, running, translate_rate

from keras_int8nmt.bench.documents import write_figures, write_section
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.storage.builtin import read_pairs

NAME = "benchmarks-serving"
SHARES = (0.25, 0.5, 0.75, 0.9, 1.0, 1.25)
LISTS = (1, 16)
_SOAK_STEP = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--docs", default="docs", help="folder of serving.md and the plot")
    parser.add_argument("--model", action="append", choices=("tiny", "base"), dest="models")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--soak", type=float, default=600.0, help="seconds of the soak; 0: none")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--folder", help="of the models, kept; default: a new one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(options.folder or temporary)
        place.mkdir(exist_ok=True)
        figures = measure(options, place)
    docs = Path(options.docs)
    sentence = write_figures(docs, NAME, figures)
    plot(figures, docs / f"{NAME}.png")
    write_section(docs / "serving.md", "Serving", NAME, f"{tables(figures)}\n{sentence}")


def measure(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    first, second = read_pairs()
    sentences = [source for source, _ in second + first]
    threads = usable_cores()
    figures: dict[str, Any] = {"cores": threads, "seconds": options.seconds, "models": {}}
    for name in options.models or ("tiny", "base"):
        folder = place / name
        build(name, folder)
        rate = translate_rate(name, folder, sentences * (4 if name == "tiny" else 1), threads)
        print(f"{name}: translate {rate:.0f} sentences/s", flush=True)
        found = figures["models"][name] = {"translate": rate, "servers": {}}
        commands = {
            "keras-int8nmt": ours(name, folder, threads),
            "CTranslate2": peer(name, folder, threads),
        }
        for server, command in commands.items():
            with running(command) as one:
                loads = asyncio.run(_loads(one.port, sentences, rate, options.seconds))
            found["servers"][server] = loads
    name, found = next(iter(figures["models"].items()))
    single = _requests(sentences, 1)
    if not options.no_faults:
        figures["faults"] = run_faults(name, place / name, single, found["translate"], threads)
    if options.soak:
        with running(ours(name, place / name, threads)) as one:
            figures["soak"] = asyncio.run(_soak(one, single, found["translate"] / 2, options.soak))
    return figures


def _requests(sentences: list[str], each: int) -> list[bytes]:
    lists = [sentences[i : i + each] for i in range(0, len(sentences) - each + 1, each)]
    return [
        message("/translate", json.dumps({"q": q, "source": "en", "target": "de"}).encode())
        for q in lists
    ]


async def _loads(port: int, sentences: list[str], rate: float, seconds: float) -> dict[str, Any]:
    client = Client(port)
    single = _requests(sentences, 1)
    await one_at_a_time(client, single, 20)
    alone = sorted(await one_at_a_time(client, single, 200))
    found: dict[str, Any] = {"alone_ms": 1000 * alone[len(alone) // 2], "loads": {}}
    for each in LISTS:
        requests = _requests(sentences, each)
        found["loads"][str(each)] = []
        for share in SHARES:
            load = await open_loop(client, requests, each, share * rate, seconds)
            figures = {"share": share, **load.figures()}
            found["loads"][str(each)].append(figures)
            print(f"  {each} a request, {share:.2f}: {figures}", flush=True)
    client.close()
    return found


async def _soak(server: Any, requests: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    client, memory = Client(server.port), []
    start = time.monotonic()
    answers: dict[str, int] = {}
    step = 0
    while time.monotonic() - start < seconds:
        load = await open_loop(client, requests, 1, rate, _SOAK_STEP, seed=step)
        memory.append((time.monotonic() - start, server.resident_mb()))
        for status, count in load.statuses.items():
            answers[status] = answers.get(status, 0) + count
        step += 1
    return {"rate": rate, "statuses": answers, "memory": memory}


def tables(figures: dict[str, Any]) -> str:
    """The section of the page, in Markdown."""
    parts = [
        "## Measured",
        f"{figures['cores']} cores, which client and server share; {figures['seconds']:g} s of "
        "open-loop load at each rate, sent at random times whether earlier requests are answered. "
        "Latencies count from when a request was to be sent. `python benchmarks/serving/run.py` "
        "repeats it.",
        f"![latency by throughput]({NAME}.png)",
    ]
    for name, found in figures["models"].items():
        parts.append(f"**{name}**: `translate` alone does {found['translate']:.0f} sentences/s.")
        rows = ["| server | a request | load | sentences/s | p50 | p95 | p99 | refused |",
                "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
        for server, loads in found["servers"].items():
            rows.append(f"| {server} | 1 | alone | | {loads['alone_ms']:.1f} ms | | | |")
            for each, many in loads["loads"].items():
                rows += [_row(server, each, load) for load in many]
        parts.append("\n".join(rows))
    if "faults" in figures:
        rows = ["| put through | seen |", "| --- | --- |"]
        rows += [f"| {row['fault']} | {row['seen']} |" for row in figures["faults"]]
        parts.append("\n".join(rows))
    if "soak" in figures:
        soak = figures["soak"]
        seconds, last = soak["memory"][-1]
        _, first = soak["memory"][0]
        parts.append(
            f"Soak: {seconds:.0f} s at {soak['rate']:.0f} sentences/s, answers {soak['statuses']}; "
            f"memory {first:.0f} MB after the first {_SOAK_STEP:g} s, {last:.0f} MB at the end."
        )
    return "\n\n".join(parts) + "\n"


def _row(server: str, each: str, load: dict[str, Any]) -> str:
    refused = sum(n for status, n in load["statuses"].items() if status != "200")
    times = " | ".join(f"{load[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "p99_ms"))
    share = f"{100 * load['share']:.0f} %"
    return f"| {server} | {each} | {share} | {load['throughput']:.0f} | {times} | {refused} |"


def plot(figures: dict[str, Any], path: Path) -> None:
    """Latency over throughput, a panel a model."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    from matplotlib import pyplot

    models = figures["models"]
    drawn, panels = pyplot.subplots(1, len(models), figsize=(6 * len(models), 4), squeeze=False)
    for panel, (name, found) in zip(panels[0], models.items(), strict=True):
        for server, loads in found["servers"].items():
            for each, many in loads["loads"].items():
                panel.plot(
                    [load["throughput"] for load in many],
                    [load["p99_ms"] for load in many],
                    marker="o",
                    label=f"{server}, {each} a request",
                )
        panel.axvline(found["translate"], color="gray", linestyle=":", label="translate alone")
        panel.set(xlabel="sentences/s", ylabel="p99, ms", yscale="log", title=name)
        panel.legend()
    drawn.tight_layout()
    drawn.savefig(path, dpi=120)
    pyplot.close(drawn)


if __name__ == "__main__":
    main()
