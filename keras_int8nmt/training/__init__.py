"""From two text files to `fit`: a tokenizer, batches of token ids, loss and learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_int8nmt._faces import lazy_face

_HOMES = {
    "CorpusError": "training.errors",
    "InverseSquareRoot": "training.schedule",
    "PairCounts": "training.pairs",
    "ParallelDataset": "training.dataset",
    "SmoothedCrossEntropy": "training.loss",
    "parallel_dataset": "training.dataset",
    "train_sentencepiece": "training.vocabulary",
}

__all__ = [
    "CorpusError",
    "InverseSquareRoot",
    "PairCounts",
    "ParallelDataset",
    "SmoothedCrossEntropy",
    "parallel_dataset",
    "train_sentencepiece",
]

if TYPE_CHECKING:
    from keras_int8nmt.training.dataset import ParallelDataset, parallel_dataset
    from keras_int8nmt.training.errors import CorpusError
    from keras_int8nmt.training.loss import SmoothedCrossEntropy
    from keras_int8nmt.training.pairs import PairCounts
    from keras_int8nmt.training.schedule import InverseSquareRoot
    from keras_int8nmt.training.vocabulary import train_sentencepiece
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
