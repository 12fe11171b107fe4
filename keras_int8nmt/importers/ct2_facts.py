"""What a CTranslate2 folder holds and lacks, told without Keras and without its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_int8nmt.errors import KerasInt8nmtError
from keras_int8nmt.importers.ct2_settings import CTranslate2Model, lacking, open_model
from keras_int8nmt.importers.ct2_tokenizer import tokenizer_of
from keras_int8nmt.importers.folder_facts import parameters

_MAP = "vmap.txt"


def describe(folder: Path) -> dict[str, Any]:
    """Figures of a folder; what `load_ctranslate2` and the tokenizer would refuse is a problem."""
    return describe_model(folder, folder)


def describe_model(
    folder: Path,
    beside: Path,
    prefix: str | None = None,
    languages: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Figures of a folder, and of what makes pieces in the same or another one.

    Args:
        folder, beside, prefix, languages: As in `tokenizer_of`.
    """
    facts: dict[str, Any] = {}
    problems: list[str] = []
    notes: list[str] = []

    def attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except (KerasInt8nmtError, ImportError) as error:
            problems.append(str(error))

    opened: list[CTranslate2Model] = []
    attempt(lambda: opened.append(open_model(folder)))
    for model in opened:
        settings, file = model.settings, model.file
        facts["storage"], facts["dtype"] = file.path.name, ", ".join(model.tensors.dtypes)
        facts["layout"] = (
            f"version {file.version}, {file.spec or 'no name'} of revision {file.revision}"
        )
        facts["tensors"] = len(model.tensors)
        facts["parameters"] = parameters(settings)
        facts["architecture"] = {
            "encoder layers": settings["num_encoder_layers"],
            "decoder layers": settings["num_decoder_layers"],
            **{name: settings[name] for name in ("model_dim", "num_heads", "ffn_dim")},
            **{name: settings[name] for name in ("norm", "activation", "position_encoding")},
        }
        facts["vocabulary"] = dict(model.rows)

        def tokenizer(model: CTranslate2Model = model) -> None:
            made = tokenizer_of(folder, model, beside, prefix, languages)
            facts["tokenizer"] = {"pieces": made.pieces, "end of sources": made.source_eos}

        attempt(tokenizer)
        notes += lacking(model)
        if (folder / _MAP).exists():
            notes.append(f"{_MAP}, which says what tokens may translate a source, is not used")
    facts.update({name: told for name, told in (("notes", notes), ("problems", problems)) if told})
    return facts
