"""From two text files to `fit`: batches of token ids, loss and learning rate.

data = parallel_dataset("train.en", "train.de", tokenizer, model=model)
model.compile(keras.optimizers.Adam(InverseSquareRoot(7e-4)), SmoothedCrossEntropy(0.1))
model.fit(data, epochs=10)
"""

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
}

__all__ = [
    "CorpusError",
    "InverseSquareRoot",
    "PairCounts",
    "ParallelDataset",
    "SmoothedCrossEntropy",
    "parallel_dataset",
]

if TYPE_CHECKING:
    from keras_int8nmt.training.dataset import ParallelDataset, parallel_dataset
    from keras_int8nmt.training.errors import CorpusError
    from keras_int8nmt.training.loss import SmoothedCrossEntropy
    from keras_int8nmt.training.pairs import PairCounts
    from keras_int8nmt.training.schedule import InverseSquareRoot
else:
    __getattr__, __dir__ = lazy_face(__name__, _HOMES)
