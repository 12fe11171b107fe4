"""The corpus of `train_multi30k.py`: lines, a joint SentencePiece tokenizer, batches by length."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import sentencepiece

from keras_int8nmt import MarianTokenizer

EOS, UNK = 0, 1

Pair = tuple[list[int], list[int]]


def read_lines(path: Path) -> list[str]:
    """Lines end with a line feed and nothing else, so that both sides keep their numbers."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def read_corpus(folder: Path, part: str, source: str, target: str) -> tuple[list[str], list[str]]:
    """Both sides of `train` or `val`, as many lines each.

    Raises:
        ValueError: where they have not as many.
    """
    sides = [read_lines(folder / f"{part}.{language}") for language in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{part}.{source} has {len(sides[0])} lines and {part}.{target} {len(sides[1])}; they "
            "must have as many."
        )
    return sides[0], sides[1]


def train_tokenizer(texts: Sequence[str], vocabulary_size: int, folder: Path) -> MarianTokenizer:
    """One vocabulary for both languages, in the files of a Marian folder.

    Args:
        texts: Training sentences of both sides.
        vocabulary_size: Pieces, the end, unknown and padding token among them.
        folder: Where the files are written.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        # Padding is no piece: its id is the last of the vocabulary.
        vocab_size=vocabulary_size - 1,
        model_type="bpe",
        character_coverage=1.0,
        eos_id=EOS,
        unk_id=UNK,
        bos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = {pieces.id_to_piece(i): i for i in range(len(pieces))} | {"<pad>": len(pieces)}
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(model.getvalue())
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    return MarianTokenizer(folder)


def encode_pairs(
    tokenizer: MarianTokenizer, sources: Sequence[str], targets: Sequence[str]
) -> list[Pair]:
    """Token ids of sentence pairs, the end token last on both sides."""
    return [
        (tokenizer.encode(source), tokenizer.encode_target(target))
        for source, target in zip(sources, targets, strict=True)
    ]


class Batches(keras.utils.PyDataset):
    """Batches of about as many tokens each, of sentences of about one length.

    There are no more shapes than `widths`, since a compiler makes a program for each. What a width
    has too few sentences for is filled up with rows of padding, which have no loss.

    Args:
        pairs: Token ids; a pair with a side longer than the last width is left out.
        pad_id: Padding.
        start_id: What the decoder is fed first.
        tokens: Of a batch, on each side, padding included.
        widths: Lengths that sentences are padded to.
        seed: Of the order, another one each epoch. None: the order is always the same.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        pad_id: int,
        start_id: int,
        tokens: int = 2048,
        widths: Sequence[int] = (12, 16, 20, 24, 32, 48),
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.pairs, self.pad_id, self.start_id, self.tokens = pairs, pad_id, start_id, tokens
        longest = [max(map(len, pair)) for pair in pairs]
        edges = (0, *widths)
        self.groups = [
            (width, [i for i, n in enumerate(longest) if shorter < n <= width])
            for shorter, width in zip(edges[:-1], widths, strict=True)
        ]
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Draws who goes with whom, and in which order."""
        self.batches = []
        for width, group in self.groups:
            order = list(group) if self.rng is None else list(self.rng.permutation(group))
            rows = max(1, self.tokens // width)
            self.batches += [
                (width, rows, order[first : first + rows]) for first in range(0, len(order), rows)
            ]
        if self.rng is not None:
            self.batches = [self.batches[i] for i in self.rng.permutation(len(self.batches))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Inputs, labels (what the decoder has to predict) and weights (padding has no loss)."""
        width, rows, chosen = self.batches[index]
        source, labels = (np.full((rows, width), self.pad_id, np.int32) for _ in range(2))
        for row, i in enumerate(chosen):
            for side, ids in zip((source, labels), self.pairs[i], strict=True):
                side[row, : len(ids)] = ids
        start = np.full((rows, 1), self.start_id, np.int32)
        target = np.concatenate([start, labels[:, :-1]], axis=1)
        weights = (labels != self.pad_id).astype(np.float32)
        return {"source": source, "target": target}, labels, weights
