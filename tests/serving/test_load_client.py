"""The client that loads a service in benchmarks/serving, and the page of its figures."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from helpers.service import serving

PLACE = Path(__file__).resolve().parents[2] / "benchmarks" / "serving"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(PLACE))
    try:
        loaded = {}
        for name in ("client", "servers", "faults", "run"):
            spec = importlib.util.spec_from_file_location(name, PLACE / f"{name}.py")
            sys.modules[name] = loaded[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded[name])
        yield loaded
    finally:
        sys.path.remove(str(PLACE))
        for name in ("client", "servers", "faults", "run"):
            sys.modules.pop(name, None)


def test_open_loop_load_counts_every_request(folders, scripts):
    client = scripts["client"]
    body = json.dumps({"q": ["It rains."] * 4, "source": "en", "target": "de"}).encode()
    good, bad = client.message("/translate", body), client.message("/translate", b"{")

    async def load(port):
        pool = client.Client(port)
        alone = await client.one_at_a_time(pool, [good], 5)
        found = await client.open_loop(pool, [good, good, bad], 4, 400, 1.0)
        pool.close()
        return alone, found

    with serving(str(folders / "int8"), "--beam-size", "1", "--max-length", "8") as service:
        alone, found = asyncio.run(load(int(service.url.rpartition(":")[2])))
    assert len(alone) == 5
    answered, refused = found.statuses["200"], found.statuses["400"]
    assert found.statuses.total() == answered + refused
    assert 0 <= answered - 2 * refused <= 2
    assert found.sentences == 4 * answered == 4 * len(found.latencies)
    figures = found.figures()
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    # As many as the rate asks for, as far as chance allows.
    assert 50 < answered + refused < 160


def test_the_page_is_made_of_the_figures(scripts, tmp_path):
    pytest.importorskip("matplotlib")
    load = {"share": 0.5, "rate": 50, "throughput": 49.6, "p50_ms": 5.2, "p95_ms": 9.0,
            "p99_ms": 12.3, "statuses": {"200": 90, "429": 3}}  # fmt: skip
    servers = {"keras-int8nmt": {"alone_ms": 4.26, "loads": {"1": [load, load]}}}
    figures = {
        "cores": 2,
        "seconds": 10,
        "models": {"tiny": {"translate": 100.4, "servers": servers}},
        "faults": [{"fault": "a kill", "seen": "nothing"}],
        "soak": {"rate": 50, "statuses": {"200": 9}, "memory": [[10, 99.6], [600, 100.4]]},
    }
    page = scripts["run"].tables(figures)
    assert "`translate` alone does 100 sentences/s" in page
    assert "| keras-int8nmt | 1 | 50 % | 50 | 5 ms | 9 ms | 12 ms | 3 |" in page
    assert "| a kill | nothing |" in page
    assert "600 s at 50 sentences/s" in page
    scripts["run"].plot(figures, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
