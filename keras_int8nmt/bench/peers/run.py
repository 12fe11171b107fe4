"""One trained translation model through each way into INT8: its BLEU, its speed, its files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.bench.accuracy.corpora import Corpus, evenly, find_corpus
from keras_int8nmt.bench.any_keras.run import versions
from keras_int8nmt.bench.errors import BenchError
from keras_int8nmt.bench.peers import training
from keras_int8nmt.bench.peers.calibration import FILE as CALIBRATION
from keras_int8nmt.bench.peers.calibration import read_calibration, write_calibration
from keras_int8nmt.bench.peers.report import write_docs
from keras_int8nmt.bench.peers.table import FLOAT, OURS, PEERS, STATE_FOLDER, Peer
from keras_int8nmt.bench.timing import Measurement, machine, row
from keras_int8nmt.bench.translation.cases import Job
from keras_int8nmt.bench.translation.client import (
    WorkerError,
    WorkerProcess,
    available_cores,
)
from keras_int8nmt.bench.translation.engines import Variant
from keras_int8nmt.bench.translation.session import say
from keras_int8nmt.evaluation.bootstrap import compare, sentence_statistics
from keras_int8nmt.evaluation.measure import score
from keras_int8nmt.runtime.batching import cut_ids

CALIBRATION_SENTENCES = 600
# Of the validation set: what is timed, by batch.
SPEED_SENTENCES = {32: 64, 1: 8}
_TURNS = 3
_LIBRARIES = (
    "keras", "keras-hub", "onnxruntime", "tf2onnx", "openvino", "nncf", "ai-edge-litert",
    "ai-edge-quantizer",
)  # fmt: skip


def run_peers(
    *,
    engines: Sequence[str] = (),
    sentences: int | None = None,
    state: str | None = None,
    test: bool = False,
    docs: str | None = None,
    turns: int = _TURNS,
    corpus: Corpus | None = None,
    peers: Mapping[str, Peer] = PEERS,
) -> dict[str, Any]:
    """Trains the model, unless `state` holds it, and measures what each library makes of it.

    Args:
        engines: Names of `peers` beside the float model and ours; none: all of them.
        sentences: Most sentences to translate, evenly taken; None: all.
        state: Folder of the trained model and of the files made of it; by default one in the
            working directory.
        test: Score on the test set; else on the validation set.
        docs: Folder for `peers.md`, and its figures. None: nothing is written.
        turns: In which speed is measured.
        corpus: By default Multi30k, English to German.
        peers: What `engines` chooses from.

    Returns:
        `machine`, `model` (its card), `peers` (by name: `bleu`, `difference`, `interval`, `p`,
        `differing`, `speeds` by batch, `bytes`, `settings`, or `failed` with the reason) and
        `rows`.

    Raises:
        BenchError: when the corpus is not there.
    """
    folder = Path(state or STATE_FOLDER).resolve()
    corpus = corpus or find_corpus(training.CORPUS)
    if not training.is_trained(folder):
        say(f"trains the model in {str(folder)!r}, for {training.MINUTES:.0f} minutes")
        training.train(folder)
    card = training.read_card(folder)
    length = card["sizes"]["length"]
    tokenizer = training.load_tokenizer(folder)
    calibration = _calibration_pairs(folder, tokenizer, length)
    valid = corpus.valid(None)
    pairs = corpus.test(sentences) if test else corpus.valid(sentences)

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return [cut_ids(tokenizer.encode(text), length, tokenizer.eos_id) for text in texts]

    jobs = {"quality": Job(1, 32, 1, 0, length, ids(pairs.sources))}
    for batch, count in SPEED_SENTENCES.items():
        jobs[str(batch)] = Job(1, batch, 1, 0, length, ids(evenly(valid.sources, count)))
    names = [n for n in peers if not engines or n in (FLOAT, OURS, *engines)]
    found = _measured({name: peers[name] for name in names}, folder, jobs, turns)
    _score(found, tokenizer, pairs.references)
    sizes = {"test": test, "sentences": len(pairs.sources), "origin": pairs.origin}
    figures = {
        "machine": {**machine(), **versions(_LIBRARIES)},
        "model": card,
        "scored": sizes,
        "calibration": calibration,
        "peers": found,
        "rows": [line for name, facts in found.items() for line in rows_of(name, facts, found)],
    }
    if docs is not None:
        write_docs(Path(docs), figures)
    return figures


def _calibration_pairs(folder: Path, tokenizer: Any, length: int) -> int:
    """How many training pairs static quantizers are calibrated on; they are chosen once."""
    if not (folder / CALIBRATION).is_file():
        sources, targets = (
            [tokenizer.encode(text) for text in evenly(side, 2 * CALIBRATION_SENTENCES)]
            for side in training.training_pairs()
        )
        write_calibration(folder, sources, targets, CALIBRATION_SENTENCES, length)
    return len(read_calibration(folder)[0])


def _measured(
    peers: Mapping[str, Peer], folder: Path, jobs: Mapping[str, Job], turns: int
) -> dict[str, dict[str, Any]]:
    """By peer: `ids` of the translations, `speeds` by batch, `settings`, `bytes`; or `failed`."""
    cores = available_cores()[:1]
    found: dict[str, dict[str, Any]] = {name: {"what": p.what} for name, p in peers.items()}
    workers: dict[str, WorkerProcess] = {}
    try:
        for name, peer in peers.items():
            say(name)
            facts = found[name]
            try:
                workers[name] = _ready(name, peer, folder, cores, facts)
                for key, job in jobs.items():
                    workers[name].prepare(key, job)
                    workers[name].run(key)
                facts["ids"] = workers[name].results("quality")
            except WorkerError as error:
                facts["failed"] = str(error)
                if name in workers:
                    workers.pop(name).close()
        speeds: dict[str, dict[str, list[float]]] = {
            name: {key: [] for key in jobs if key != "quality"} for name in workers
        }
        say("speed, in turns")
        for _ in range(turns):
            for name, worker in workers.items():
                for key, seen in speeds[name].items():
                    reply = worker.ask("run", job=key)
                    seen.append(len(jobs[key].sentences) / reply["cpu_seconds"])
        for name, each in speeds.items():
            found[name]["speeds"] = each
    finally:
        for worker in workers.values():
            worker.close()
    return found


def _ready(
    name: str, peer: Peer, folder: Path, cores: Sequence[int], facts: dict[str, Any]
) -> WorkerProcess:
    """A worker that has loaded the peer, whose files are made first where they are missing."""
    spec = peer.engine_spec(name)
    reason = spec.why_not("")
    if reason is not None:
        raise WorkerError(reason)
    made = ""
    if peer.export:
        exporting = WorkerProcess(peer.export_spec(name), Variant(), cores)
        try:
            exporting.load(folder)
            made = exporting.settings
        finally:
            exporting.close()
    worker = WorkerProcess(spec, Variant(), cores)
    try:
        worker.load(folder)
    except WorkerError:
        worker.close()
        raise
    facts["settings"] = "; ".join(filter(None, (made, worker.settings)))
    files = folder / name
    facts["bytes"] = sum(each.stat().st_size for each in files.iterdir()) if files.is_dir() else 0
    return worker


def _score(found: dict[str, dict[str, Any]], tokenizer: Any, references: Sequence[str]) -> None:
    """Adds `bleu` and, against the float model, `difference`, `interval`, `p`, `differing`."""
    if FLOAT not in found or "ids" not in found[FLOAT]:
        reason = found.get(FLOAT, {}).get("failed", "it was not asked for")
        raise BenchError(f"There is nothing to compare with: {FLOAT} failed: {reason}")
    texts = {n: [tokenizer.decode(s) for s in f.pop("ids")] for n, f in found.items() if "ids" in f}
    base = sentence_statistics(texts[FLOAT], references)
    for name, lines in texts.items():
        scores = score(lines, references)
        difference = compare(sentence_statistics(lines, references), base)
        found[name].update(
            bleu=scores.bleu,
            chrf=scores.chrf,
            signature=scores.signature,
            difference=difference.value,
            interval=[difference.low, difference.high],
            p=difference.p,
            differing=sum(a != b for a, b in zip(lines, texts[FLOAT], strict=True)),
        )


def rows_of(
    name: str, facts: dict[str, Any], found: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of a peer: BLEU against the float model, and ours against its speed."""
    empty = dict.fromkeys(("ours", "peer", "ratio", "spread"))
    if "failed" in facts:
        return [{"name": name, "case": "", "unit": "", **empty, "reason": facts["failed"]}]
    low, high = facts["interval"]
    quality = {
        **empty,
        "name": name,
        "case": "BLEU",
        "ours": facts["bleu"],
        "peer": found[FLOAT]["bleu"],
        "unit": "BLEU",
        "note": f"{facts['difference']:+.2f} [{low:+.2f}, {high:+.2f}] p={facts['p']:.3f}",
    }
    rows = [quality]
    ours = found.get(OURS, {}).get("speeds", {})
    for batch, speeds in facts["speeds"].items():
        if name != OURS and batch in ours:
            sides = [Measurement.of(each) for each in (ours[batch], speeds)]
            medians = [statistics.median(each) for each in (ours[batch], speeds)]
            timed = row(
                f"{OURS} vs {name}",
                f"batch {batch}",
                medians[0],
                medians[1],
                "sentences per CPU second",
                spread=max(each.spread for each in sides),
                smaller_is_better=False,
            )
            rows.append(timed)
    return rows
