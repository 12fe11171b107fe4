"""Measures the service; one command for the figures of `docs/serving.md`.

    python benchmarks/serving/run.py --docs docs                  # ten minutes at most on 2 cores
    python benchmarks/serving/run.py --docs docs --soak 10        # and ten more
    python benchmarks/serving/run.py --model tiny --seconds 1 --no-faults --docs /tmp/docs

Needs the extras `serve` and `bench`. Client and server share the machine's cores. The service and
CTranslate2 behind the same frame run side by side, and are loaded in turns:

1. `translate`, CTranslate2's `translate_batch`, and each server under as many requests as it takes,
   of one sentence and of 16, in several rounds;
2. one request at a time, then open-loop load at shares of what each server takes.

Then faults and, where it is asked for, a soak, of the service alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client import Client, message, one_at_a_time, open_loop, saturated
from faults import run_faults
from servers import (
    Server,
    build,
    ours,
    peer,
    running,
    translate_batch_rate,
    translate_rate,
)

from keras_int8nmt.bench.documents import write_figures, write_section
from keras_int8nmt.runtime.cores import usable_cores
from keras_int8nmt.storage.builtin import read_pairs

NAME = "benchmarks-serving"
OURS, PEER = "keras-int8nmt", "CTranslate2"
# Of what a server takes, and for how many times `--seconds`: of the half the slowest hundredth is
# asked for, so it has more requests.
SHARES = {0.25: 1.0, 0.5: 4.0, 0.75: 1.0, 0.9: 1.0}
LISTS = (1, 16)
# Sentences that wait for a server together where it shall have all that it takes.
_WAITING = 128
# Rounds, and requests one at a time: those of base take about 20 times as long.
_PLANS = {"tiny": (3, 200), "base": (2, 60)}
_SOAK_STEP = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--docs", default="docs", help="folder of serving.md and the plot")
    parser.add_argument("--model", action="append", choices=("tiny", "base"), dest="models")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="default: none")
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
        with (
            running(ours(name, folder, threads)) as service,
            running(peer(name, folder, threads)) as other,
        ):
            servers = {OURS: service, PEER: other}
            found = figures["models"][name] = {
                **_most(name, folder, servers, sentences, threads, options.seconds)
            }
            most = {server: rates["1"]["sentences"] for server, rates in found["servers"].items()}
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                found["latency"] = runner.run(
                    _latency(name, servers, sentences, most, options.seconds)
                )
    name, found = next(iter(figures["models"].items()))
    single, rate = _requests(sentences, 1), found["servers"][OURS]["1"]["sentences"]
    if not options.no_faults:
        figures["faults"] = run_faults(name, place / name, single, rate, threads)
    if options.soak:
        with running(ours(name, place / name, threads)) as one:
            figures["soak"] = asyncio.run(_soak(one, single, rate / 2, 60 * options.soak))
    return figures


def _requests(sentences: list[str], each: int) -> list[bytes]:
    lists = [sentences[i : i + each] for i in range(0, len(sentences) - each + 1, each)]
    return [
        message("/translate", json.dumps({"q": q, "source": "en", "target": "de"}).encode())
        for q in lists
    ]


def _loop_factory() -> Any:
    """Of the client: a faster loop leaves more of the cores to the server."""
    import uvloop

    return uvloop.new_event_loop


def _most(
    name: str,
    folder: Path,
    servers: dict[str, Server],
    sentences: list[str],
    threads: int,
    seconds: float,
) -> dict[str, Any]:
    """What the engines do, and the servers under as many requests as they take, in turns."""
    rounds, _ = _PLANS[name]
    engines: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
    loaded: dict[str, dict[str, list[dict[str, float]]]] = {
        server: {str(each): [] for each in LISTS} for server in servers
    }
    for _ in range(rounds):
        for server, rate_of in ((OURS, translate_rate), (PEER, translate_batch_rate)):
            rate = rate_of(name, folder, sentences, threads, seconds)
            engines[server].append(asdict(rate))
            print(f"{name}: engine of {server}: {rate}", flush=True)
        for each in LISTS:
            for server, one in servers.items():
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    found = runner.run(_saturated(one, _requests(sentences, each), each, seconds))
                found["share"] = found["sentences"] / engines[server][-1]["sentences"]
                found["cpu_share"] = engines[server][-1]["cpu_ms"] / found["cpu_ms"]
                loaded[server][str(each)].append(found)
                print(f"  {server}, {each} a request: {found}", flush=True)
    return {
        "rounds": rounds,
        "engines": {server: _medians(found) for server, found in engines.items()},
        "servers": {
            server: {each: _medians(found) for each, found in lists.items()}
            for server, lists in loaded.items()
        },
    }


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


async def _saturated(
    server: Server, requests: list[bytes], each: int, seconds: float
) -> dict[str, float]:
    client = Client(server.port)
    cpu, own = server.cpu_seconds(), time.process_time()
    rate, count = await saturated(client, requests, each, max(12, _WAITING // each), seconds)
    client.close()
    return {
        "sentences": rate,
        "cpu_ms": 1000 * (server.cpu_seconds() - cpu) / count,
        "client_cpu_ms": 1000 * (time.process_time() - own) / count,
    }


async def _latency(
    name: str,
    servers: dict[str, Server],
    sentences: list[str],
    most: dict[str, float],
    seconds: float,
) -> dict[str, Any]:
    """Of requests of one sentence: one at a time, then at random times, the servers in turns."""
    requests, (_, count) = _requests(sentences, 1), _PLANS[name]
    clients = {server: Client(one.port) for server, one in servers.items()}
    found: dict[str, Any] = {}
    for server, client in clients.items():
        await one_at_a_time(client, requests, 20)
        alone = await one_at_a_time(client, requests, count)
        cuts = statistics.quantiles(alone, n=100)
        found[server] = {"alone_ms": 1000 * cuts[49], "alone_p99_ms": 1000 * cuts[98], "loads": []}
    for share, times in SHARES.items():
        for server, client in clients.items():
            load = await open_loop(client, requests, 1, share * most[server], times * seconds)
            figures = {"share": share, **load.figures()}
            found[server]["loads"].append(figures)
            print(f"  {server}, {share:.2f} of what it takes: {figures}", flush=True)
    for client in clients.values():
        client.close()
    return found


async def _soak(server: Any, requests: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    client, memory = Client(server.port), []
    start = time.monotonic()
    answers: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    step = 0
    while time.monotonic() - start < seconds:
        load = await open_loop(client, requests, 1, rate, _SOAK_STEP, seed=step)
        memory.append((time.monotonic() - start, server.resident_mb()))
        answers += load.statuses
        lost += load.lost
        step += 1
    return {
        "rate": rate,
        "statuses": dict(answers),
        "lost": dict(lost),
        "asked_again": [str(broken) for broken in client.asked_again],
        "memory": memory,
    }


def tables(figures: dict[str, Any]) -> str:
    """The section of the page, in Markdown."""
    parts = [
        "## Measured",
        f"{figures['cores']} cores, which client and servers share; CTranslate2 stands behind the "
        "same frame in a few lines ([`peer.py`](../benchmarks/serving/peer.py)). The engine alone "
        "is `translate`, or `translate_batch`, on the same sentences. Medians of rounds in which "
        "engines and servers take turns; shares are those within a round.",
    ]
    for name, found in figures["models"].items():
        rows = [
            "| | a request | sentences/s | of its engine | CPU ms a sentence | of its engine |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for server, engine in found["engines"].items():
            rows.append(
                f"| {server}, the engine | | {engine['sentences']:.0f} | | {engine['cpu_ms']:.2f} "
                "| |"
            )
            rows += [
                f"| {server}, served | {each} | {rates['sentences']:.0f} | "
                f"{100 * rates['share']:.0f} % | {rates['cpu_ms']:.2f} | "
                f"{100 * rates['cpu_share']:.0f} % |"
                for each, rates in found["servers"][server].items()
            ]
        single = {server: lists["1"] for server, lists in found["servers"].items()}
        served, alone = (
            rates[OURS]["sentences"] / rates[PEER]["sentences"]
            for rates in (single, found["engines"])
        )
        parts += [
            f"**{name}**, as many requests as a server takes, {found['rounds']} rounds of "
            f"{figures['seconds']:g} s:",
            "\n".join(rows),
            f"The client takes {single[OURS]['client_cpu_ms']:.2f} ms of CPU a request of one "
            "sentence, on the same cores; so the share by CPU is the one of a server that has its "
            f"cores to itself. One sentence a request, {OURS} serves {served:.2f} times what "
            f"{PEER} does; the engines' ratio is {alone:.2f}.",
        ]
    parts += [
        "Requests of one sentence, sent at random times whether earlier ones are answered (open "
        "loop), at shares of what each server takes. Latencies count from when a request was to be "
        'sent; "alone" are requests one at a time.',
        _latency_table(figures),
        f"![latency by throughput]({NAME}.png)",
    ]
    if "faults" in figures:
        rows = ["| put through | seen |", "| --- | --- |"]
        rows += [f"| {row['fault']} | {row['seen']} |" for row in figures["faults"]]
        parts.append("\n".join(rows))
    if "soak" in figures:
        soak = figures["soak"]
        seconds, last = soak["memory"][-1]
        _, first = soak["memory"][0]
        parts.append(
            f"Soak: {seconds:.0f} s at {soak['rate']:.0f} sentences/s, answers {soak['statuses']}, "
            f"{len(soak['asked_again'])} of them asked for again where a connection that was used "
            f"before had been closed; memory {first:.0f} MB after the first {_SOAK_STEP:g} s, "
            f"{last:.0f} MB at the end."
        )
    return "\n\n".join(parts) + "\n"


def _latency_table(figures: dict[str, Any]) -> str:
    rows = [
        "| model | server | load | sentences/s | p50 | p95 | p99 | p99 by p50 alone | refused |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in figures["models"].items():
        for server, latency in found["latency"].items():
            alone = latency["alone_ms"]
            rows.append(
                f"| {name} | {server} | alone | | {alone:.1f} ms | | "
                f"{latency['alone_p99_ms']:.1f} ms | {latency['alone_p99_ms'] / alone:.1f} | |"
            )
            rows += [f"| {name} | {server} {_load(load, alone)}" for load in latency["loads"]]
    return "\n".join(rows)


def _load(load: dict[str, Any], alone: float) -> str:
    refused = sum(n for status, n in load["statuses"].items() if status != "200")
    times = " | ".join(f"{load[name]:.1f} ms" for name in ("p50_ms", "p95_ms", "p99_ms"))
    return (
        f"| {100 * load['share']:.0f} % | {load['throughput']:.0f} | {times} | "
        f"{load['p99_ms'] / alone:.1f} | {refused} |"
    )


def plot(figures: dict[str, Any], path: Path) -> None:
    """Latency over throughput, a panel a model."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    from matplotlib import pyplot

    models = figures["models"]
    drawn, panels = pyplot.subplots(1, len(models), figsize=(6 * len(models), 4), squeeze=False)
    for panel, (name, found) in zip(panels[0], models.items(), strict=True):
        for server, latency in found["latency"].items():
            loads = latency["loads"]
            line = panel.plot(
                [load["throughput"] for load in loads],
                [load["p99_ms"] for load in loads],
                marker="o",
                label=server,
            )
            panel.axvline(
                found["engines"][server]["sentences"],
                color=line[0].get_color(),
                linestyle=":",
                label=f"{server}, the engine alone",
            )
        panel.set(xlabel="sentences/s", ylabel="p99, ms", yscale="log", title=name)
        panel.legend()
    drawn.tight_layout()
    drawn.savefig(path, dpi=120)
    pyplot.close(drawn)


if __name__ == "__main__":
    main()
