"""What has been measured, in a folder, so that an interrupted run goes on.

    results.jsonl    a line a recipe, model and set: scores and translations
    models/          the models themselves: what is scored last is what was chosen first
    choice.json      what was chosen, see `choice.py`

A result counts where its key is equal: release and library, model, recipe, calibration sentences,
scored sentences and search. Others are left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keras_int8nmt.files.jsonl import append_entries, read_entries
from keras_int8nmt.storage.card import CARD_FILE, read_card
from keras_int8nmt.storage.model_folder import load_folder, save_folder

Key = dict[str, Any]
_CARD_ENTRY = "bench_accuracy"


@dataclass(frozen=True)
class Result:
    """A recipe's translations of one set, and what they are worth.

    Attributes:
        bleu, chrf: Corpus scores, 0 to 100.
        signature: sacreBLEU's signatures of both.
        path: "fast" or "layers", see `Translator`.
        int8, matmuls: MatMuls in INT8, and all; 0 of 0 for a float model.
        floats: MatMuls that stayed float in a converted model, counted by reason.
        translations: A line a sentence.
    """

    bleu: float
    chrf: float
    signature: str
    path: str
    int8: int
    matmuls: int
    floats: dict[str, int]
    translations: list[str]


class State:
    """Results and models of earlier runs.

    Args:
        folder: Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "results.jsonl"
        self._results: dict[str, tuple[Key, Result]] = {}
        for entry in read_entries(self._file):
            self._results[_text(entry["key"])] = entry["key"], Result(**entry["result"])

    def result(self, key: Key) -> Result | None:
        """The result of a key, if it is known."""
        found = self._results.get(_text(key))
        return None if found is None else found[1]

    def add(self, key: Key, result: Result) -> None:
        """Keeps a result."""
        self._results[_text(key)] = key, result
        append_entries(self._file, [{"key": key, "result": asdict(result)}])

    def has_seen_test(self, identity: str) -> bool:
        """Whether anything was scored on the test set with the model of that identity."""
        keys = (key for key, _ in self._results.values())
        return any(key["part"] == "test" and key["model"] == identity for key in keys)

    def model(self, key: Key, names: tuple[str, str], make: Callable[[], Any]) -> Any:
        """The model of a key: read if it is there, else made and kept.

        Args:
            key: What it was made of.
            names: Of the model and the recipe, for its folder.
            make: Makes it.
        """
        folder = self.folder / "models" / "".join(_plain(name) + "/" for name in names)
        mark = hashlib.sha256(_text(key).encode()).hexdigest()
        if (folder / CARD_FILE).is_file() and read_card(folder).get(_CARD_ENTRY) == mark:
            return load_folder(folder)[0]
        model = make()
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_folder(model, folder, card={_CARD_ENTRY: mark}, force=True)
        return model


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
