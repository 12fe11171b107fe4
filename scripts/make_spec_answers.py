"""Models as specs on disk, and what they answer, for tests/cc/spec_answers_test.cc.

    python scripts/make_spec_answers.py FOLDER [--golden]

Writes a folder each, with `spec.json`, `spec.safetensors` and `answers.txt`:

- `release_int8`, `release_dynamic`, `release_integer`: the small models of
  tests/data/release_0_1_0, with the answers that are stored there;
- `builtin_dynamic`: the built-in model with a scale for each row of inputs, which no calibration
  takes part in, so that it is the same wherever it is made; with the answers of
  tests/data/spec_answers/builtin_dynamic.txt, which `--golden` makes anew with the library that is
  installed;
- `builtin_int8`: the built-in model, calibrated now, with the answers of this CPU.

So a program that runs elsewhere is held to the bits of this CPU, and this CPU to those of the one
that made the stored files.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

from keras_int8nmt import MarianTokenizer, Translator, calibrate, convert, load_folder
from keras_int8nmt.runtime.spec_file import write_spec
from keras_int8nmt.storage.builtin import FOLDER, load_builtin, read_pairs

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
GOLDEN = DATA / "spec_answers" / "builtin_dynamic.txt"
RELEASE = DATA / "release_0_1_0"
# Of what the release saved: those without float32 products, which have no equal bits.
RELEASED = ("int8", "dynamic", "integer")
RELEASED_LENGTH = 16
SENTENCES = 20
BEAMS = (1, 4)
LENGTH = 64

Hypotheses = Sequence[tuple[str, Sequence[int]]]  # (score in hexadecimal, token ids)


def answers_text(beam: int, length: int, ids: Iterable[Any], found: Iterable[Hypotheses]) -> str:
    """One search as a file of answers has it."""
    lines = [f"search {beam} {length}"]
    for source, hypotheses in zip(ids, found, strict=True):
        lines.append(" ".join(["source", *map(str, source)]))
        lines += [" ".join([score, *map(str, tokens)]) for score, tokens in hypotheses]
    return "".join(line + "\n" for line in lines)


def write(folder: Path, model: Any, answers: str) -> None:
    folder.mkdir()
    write_spec(model.spec(packed=False), folder)
    (folder / "answers.txt").write_text(answers)


def released_answers(kind: str) -> str:
    """What the release answered with that model."""
    stored = json.loads((RELEASE / "expected.json").read_text())
    text = ""
    for beam in (1, 3):
        found = [
            [(score, tokens) for score, *tokens in hypotheses]
            for hypotheses in stored["answers"][kind][f"fast beam {beam}"]
        ]
        text += answers_text(beam, RELEASED_LENGTH, stored["ids"], found)
    return text


def released_model(kind: str) -> Any:
    with (
        tempfile.TemporaryDirectory() as name,
        zipfile.ZipFile(RELEASE / f"{kind}.zip") as archive,
    ):
        archive.extractall(name)
        return load_folder(Path(name) / kind)[0]


def answers_here(model: Any) -> str:
    """What the built-in model answers with the native decoder of this CPU."""
    tokenizer = MarianTokenizer(FOLDER)
    ids = [tokenizer.encode(source) for source, _ in read_pairs()[1][:SENTENCES]]
    text = ""
    for beam in BEAMS:
        search = {"beam_size": beam, "num_hypotheses": beam, "max_length": LENGTH}
        with Translator(model, tokenizer, path="fast", **search) as translator:
            found = [
                [(float(h.score).hex(), h.tokens) for h in each.hypotheses]
                for each in translator.translate_ids(ids)
            ]
        text += answers_text(beam, LENGTH, ids, found)
    return text


def dynamic_model() -> Any:
    return convert(load_builtin(), activations="dynamic", weight_bits=8)


def calibrated_model() -> Any:
    model = load_builtin()
    sources, targets = map(list, zip(*read_pairs()[0][:64], strict=True))
    calibrate(model, MarianTokenizer(FOLDER), sources, targets)
    return convert(model, weight_bits=8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="is made")
    parser.add_argument("--golden", action="store_true", help=f"make {GOLDEN.name} anew")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    for kind in RELEASED:
        write(arguments.folder / f"release_{kind}", released_model(kind), released_answers(kind))
    dynamic = dynamic_model()
    if arguments.golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(answers_here(dynamic))
    write(arguments.folder / "builtin_dynamic", dynamic, GOLDEN.read_text())
    calibrated = calibrated_model()
    write(arguments.folder / "builtin_int8", calibrated, answers_here(calibrated))


if __name__ == "__main__":
    main()
