"""`parallel_dataset`: two text files as batches for `fit`, without TensorFlow unless asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_int8nmt._arguments import MOST_INT32, flag, whole
from keras_int8nmt._progress import progress_bar
from keras_int8nmt.tokenizers.adapters import tokenizer_for
from keras_int8nmt.tokenizers.fit import VocabularyError, check_fit
from keras_int8nmt.training.batches import Batch, BatchPlan, PairRows
from keras_int8nmt.training.pairs import EncodedPairs, PairCounts, encode_pairs
from keras_int8nmt.training.text import Text, name_of, read_in_step

# Positions of a model of `build_transformer` that says nothing else.
DEFAULT_MAX_LENGTH = 256


class ParallelDataset(keras.utils.PyDataset):
    """Batches of token ids for `fit` and `evaluate`; made by `parallel_dataset`, which tells all.

    Attributes:
        counts: What became of the pairs that were read, see `PairCounts`.
        epoch: Whose batches these are, counted from 0. Keras moves it on at the end of an epoch;
            whoever goes on with a training that was interrupted can set it.
    """

    def __init__(
        self,
        pairs: EncodedPairs,
        plan: BatchPlan,
        pad_id: int,
        start_id: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.counts: PairCounts = pairs.counts
        self._pairs, self._plan = pairs, plan
        self._pad_id, self._start_id = pad_id, start_id
        self.epoch = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._epoch = whole("epoch", number, 0)
        self._batches = self._plan.epoch(self._epoch)
        self._given: set[int] = set()
        self._within = False

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> Batch:
        """Inputs (`source`, and `target`, what the decoder is fed), labels and weights."""
        self._given.add(index)
        return self._batch(self._batches[index])

    def on_epoch_begin(self) -> None:
        self._within = True

    def on_epoch_end(self) -> None:
        """Draws new batches, if these were all read: `steps_per_epoch` ends epochs before."""
        if not self._within:
            # Keras has read two batches to see their shapes.
            self._given.clear()
        elif len(self._given) == len(self) or self.use_multiprocessing:
            # What other processes read is not seen here.
            self.epoch += 1
        self._within = False

    def as_tf_data(self) -> Any:
        """The same batches as a `tf.data.Dataset`; each pass over it is one more epoch.

        Lengths and numbers of rows are unknown in its `element_spec`, so that no function is traced
        for each shape. `repeat()` gives one epoch after the other.
        """
        # Here: on JAX nothing else needs TensorFlow.
        from keras_int8nmt.training.tf_data import from_epochs

        return from_epochs(self._epoch_batches, len(self))

    def _epoch_batches(self, number: int) -> Iterator[Batch]:
        return map(self._batch, self._plan.epoch(number))

    def _batch(self, batch: PairRows) -> Batch:
        shape = (batch.rows, batch.width)
        source, labels = (np.full(shape, self._pad_id, np.int32) for _ in range(2))
        weights = np.zeros(shape, np.float32)
        for row, i in enumerate(batch.pairs):
            ids = self._pairs.sentence(self._pairs.source, i)
            source[row, : len(ids)] = ids
            ids = self._pairs.sentence(self._pairs.target, i)
            labels[row, : len(ids)] = ids
            weights[row, : len(ids)] = 1.0
        fed = np.full(shape, self._start_id, np.int32)
        fed[:, 1:] = labels[:, :-1]
        return {"source": source, "target": fed}, labels, weights


def parallel_dataset(
    source: Text,
    target: Text,
    tokenizer: Any,
    *,
    model: Any = None,
    batch_tokens: int = 4096,
    max_length: int | None = None,
    start_id: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    pad_to_multiple: int = 4,
    progress: bool = False,
    workers: int = 1,
    use_multiprocessing: bool = False,
    max_queue_size: int = 10,
) -> ParallelDataset:
    """Reads two text files in step and gives batches for `fit`.

    The files are read once, line by line; their token ids stay in memory, two bytes each where the
    vocabulary allows, and no text does. Pairs of which a side has no text or more than `max_length`
    tokens are left out; a warning says how many, and `counts` of the result.

    Args:
        source: Path of the sentences, one a line in UTF-8, .gz and .zst too; or the sentences.
        target: Path of as many translations, or the translations.
        tokenizer: Turns both into ids, the end token last; whatever `as_tokenizer` takes.
        model: The `Transformer` that will be trained, if it is there already: its tokens and
            lengths are the defaults, and what does not fit it is an error.
        batch_tokens: Most tokens of a batch on each side, padding included: rows times width. A
            pair whose width alone is more is a batch by itself.
        max_length: Most tokens of a sentence, the end token among them; the model's, or 256.
        start_id: What the decoder is fed first; the model's, or padding.
        shuffle: Whether each epoch has other batches in another order. False: always the same, as
            for validation.
        seed: Of the orders; the same seed gives the same batches in each epoch.
        pad_to_multiple: Widths are multiples of it, about a quarter wider from one to the next, so
            that there are few shapes.
        progress: Show progress on stderr.
        workers, use_multiprocessing, max_queue_size: As in `keras.utils.PyDataset`.

    Returns:
        A `keras.utils.PyDataset`, on every back end of Keras. Its batches are

            {"source": int32 [rows, width], "target": int32 [rows, width]},
            labels: int32 [rows, width], weights: float32 [rows, width]

        `target` is `start_id` and the labels but the last; weights are 1 on tokens and 0 on
        padding. All pairs are in one batch of each epoch; a few rows at the end may be padding.
        `as_tf_data()` gives the same batches as a `tf.data.Dataset`.

    Raises:
        TextFileError: where one side has more lines, naming both counts, and for a line that is not
            UTF-8.
        CorpusError: where no pair is left, and for a line whose ids don't end with the end token.
        VocabularyError: when the tokenizer is not the model's.
        CompressedFileError: naming a packed file that is damaged.
        OSError: when a file can't be read.
        ValueError, TypeError: naming an argument that is out of range.

    Example:

        >>> data = parallel_dataset("train.en", "train.de", tokenizer, model=model)
        >>> model.compile("adam", SmoothedCrossEntropy(0.1))
        >>> model.fit(data, epochs=10)
    """
    tokens = whole("batch_tokens", batch_tokens, 1, MOST_INT32)
    multiple = whole("pad_to_multiple", pad_to_multiple, 1, MOST_INT32)
    seed = whole("seed", seed, 0)
    tokenizer = tokenizer_for(model, tokenizer)
    pad_id = whole("tokenizer.pad_id", tokenizer.pad_id, 0, MOST_INT32)
    if model is not None:
        check_fit(model, tokenizer)
    longest = None if model is None else model.max_length
    length = longest or DEFAULT_MAX_LENGTH
    if max_length is not None:
        length = whole("max_length", max_length, 1, longest or MOST_INT32)
    start = pad_id if model is None else model.start_id
    if start_id is not None:
        start = whole("start_id", start_id, 0, MOST_INT32)
    names = name_of(source, "the sources"), name_of(target, "the targets")
    with progress_bar(None, "tokenizing", progress) as bar:
        lines = read_in_step(source, target, names)
        pairs = encode_pairs(lines, tokenizer, length, names, bar.update)
    if model is not None:
        _check_ids(pairs, model)
    message = _left_out(pairs, names[0], length)
    if message is not None:
        warnings.warn(message, stacklevel=2)
    order = seed if flag("shuffle", shuffle) else None
    return ParallelDataset(
        pairs,
        BatchPlan(pairs.longest(), tokens, length, multiple, order),
        pad_id,
        start,
        workers=workers,
        use_multiprocessing=use_multiprocessing,
        max_queue_size=max_queue_size,
    )


def _check_ids(pairs: EncodedPairs, model: Any) -> None:
    """Tokenizers need not tell which ids they give; these are the ones they gave."""
    for side in ("source", "target"):
        size, largest = model.settings[f"{side}_vocabulary_size"], pairs.largest(side)
        if largest >= size:
            raise VocabularyError(
                f"The tokenizer does not fit the model: it gives the {side} id {largest}, and the "
                f"model's ids are below {size}."
            )


def _left_out(pairs: EncodedPairs, name: str, max_length: int) -> str | None:
    """One line on pairs that are not trained on; None where there are none."""
    counts = pairs.counts
    reasons = []
    if counts.empty:
        reasons.append(f"{counts.empty} without text (the first is line {pairs.first_empty})")
    if counts.too_long:
        reasons.append(
            f"{counts.too_long} of more than {max_length} tokens (the first is line "
            f"{pairs.first_too_long})"
        )
    if not reasons:
        return None
    left = counts.read - counts.kept
    return f"{name}: {left} of {counts.read} pairs are left out: {' and '.join(reasons)}."
