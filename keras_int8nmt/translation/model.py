"""What a `Translator` asks of a model, and of the engines that search with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from keras_int8nmt.runtime.model_spec import ModelSpec
from keras_int8nmt.runtime.results import SearchResults
from keras_int8nmt.runtime.search_options import SearchOptions


class Engine(Protocol):
    """Searches for translations of token ids; safe from many threads at once."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises for a sentence that it can't translate, and no other is harmed by."""

    def begin(self, sentences: Sequence[Sequence[int]], keys: Sequence[int]) -> SearchResults:
        """Hands sentences to the streams and does not wait for them.

        Args:
            sentences: Token ids, the end token included.
            keys: What they are sorted by; those of the largest key go first.
        """


class TranslationModel(Protocol):
    """A model that answers for itself; what it is made of is nobody's business here.

    One whose settings say something of a search has `search_defaults`, see `SearchDefaults`.
    """

    max_length: int
    pad_id: int
    eos_id: int
    start_id: int

    @property
    def settings(self) -> Mapping[str, Any]:
        """Among them `source_vocabulary_size`: ids of sources are below it; likewise
        `target_vocabulary_size` where it is known."""

    def native_refusal(self) -> str | None:
        """Why the native decoder can't run it as it is now; None if it can."""

    def spec(self, packed: bool = True) -> ModelSpec:
        """The model for the native decoder, as it is now; where `native_refusal` says None.

        Args:
            packed: Whether weights of products are packed for this CPU; if not they are as they
                are stored.
        """

    def weights_token(self) -> Any:
        """Equal to one taken earlier as long as no weight that `spec` gives has changed since."""

    def graph_engine(
        self,
        options: SearchOptions,
        batch_size: int,
        streams: int | str,
        max_batch_tokens: int | None = None,
    ) -> Engine:
        """The engine that searches with the model's own layers.

        Args:
            options: What to search for.
            batch_size: Most sentences of a batch.
            streams: Batches at the same time; "auto": as many as the cores allow.
            max_batch_tokens: Most source tokens of a batch, padding included.
        """


_ASKED = (
    "max_length",
    "pad_id",
    "eos_id",
    "start_id",
    "settings",
    "native_refusal",
    "spec",
    "weights_token",
    "graph_engine",
)


def check_model(model: Any) -> None:
    """Raises a TypeError that names what `model` lacks of a `TranslationModel`."""
    missing = [name for name in _ASKED if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"A Translator takes a Transformer, an Int8Transformer, or what answers like them; "
            f"{type(model).__name__} has no {', '.join(missing)}."
        )
