"""One small tokenizer of each kind: 48 ids, of which 0 is padding and 1 the end."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import sentencepiece

from keras_int8nmt.tokenizers.hugging_face import HuggingFaceTokenizer
from keras_int8nmt.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_int8nmt.tokenizers.subword_tokenizer import SubwordNMTTokenizer
from keras_int8nmt.tokenizers.word_piece import WordPieceTokenizer

SIZE, PAD, EOS = 48, 0, 1
SENTENCES = ["the cat sat on the mat", "a dog ran to the house", "cats and dogs can run"]
_TEXT = [
    *SENTENCES,
    "the houses on the street are old",
    "she sees the tree on the hill",
    "he reads old letters to the children",
    "the children ran to the trees",
    "a street in the old town",
    "the letter is on the table",
    "her dogs sat in the house",
    "to run and to read is to learn",
]
ODD_TEXTS = [
    "", " ", "\t\n", "\u200b", "\u0301", "\x00", "\U0001f600 cat", "\ud83d", "a\udc00b", "</s>",
    "the </s> cat", "<pad>", "<unk> <s>", "\u2581", "@@ @@", "cat@@ s", "\u65e5\u672c\u8a9e",
    "\u05d0\u202e", "the  cat ", "cat" * 5000, "cat " * 5000,
]  # fmt: skip


@functools.cache
def sentencepiece_model(kind: str = "unigram", size: int = SIZE, **ids: int) -> bytes:
    """A SentencePiece model; without ids with those of SentencePiece, which have no padding."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXT * 5),
        model_writer=model,
        vocab_size=size,
        model_type=kind,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
    )
    return model.getvalue()


OUR_IDS = {"pad_id": PAD, "eos_id": EOS, "unk_id": 2, "bos_id": 3}


@functools.cache
def live_tokenizer() -> Any:
    """A `tokenizers.Tokenizer`: BPE, whose post-processor adds a begin and an end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>", "<s>", "<2de>"]
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_TEXT * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 3), ("</s>", 1)]
    )
    return tokenizer


def subword_vocabulary() -> dict[str, int]:
    letters = sorted({*"".join(SENTENCES)} - {" "})
    pieces = ["<pad>", "</s>", "<unk>", "the", "cat", *letters, *(f"{each}@@" for each in letters)]
    return {piece: i for i, piece in enumerate((pieces + [f"x{i}" for i in range(SIZE)])[:SIZE])}


class StandIn:
    """What all layers of KerasHub have: arrays of ids come out, a piece is asked for by itself."""

    sequence_length = None

    def tokenize(self, text):
        return np.array(self.ids(text), "int32")

    def token_to_id(self, token):
        raise ValueError(token)

    def id_to_token(self, i):
        raise ValueError(i)


class OfSentencePiece(StandIn):
    """As KerasHub's `SentencePieceTokenizer`."""

    def __init__(self, proto, add_bos=False):
        self.proto, self.add_bos = proto, add_bos
        self._live = sentencepiece.SentencePieceProcessor(model_proto=proto)

    def ids(self, text):
        return self._live.encode(text, add_bos=self.add_bos)

    def detokenize(self, ids):
        # As a tensor of bytes of TensorFlow would be.
        return np.array(self._live.decode(ids).encode())

    def vocabulary_size(self):
        return self._live.get_piece_size()


def small_tokenizers(folder: Any) -> dict[str, Any]:
    """By their kinds; `folder` is for a file."""
    codes = folder / "codes"
    codes.write_text("#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\n")
    return {
        "SentencePieceTokenizer": SentencePieceTokenizer(sentencepiece_model(**OUR_IDS)),
        "HuggingFaceTokenizer": HuggingFaceTokenizer(live_tokenizer()),
        "WordPieceTokenizer": WordPieceTokenizer(
            [piece.replace("<unk>", "[UNK]") for piece in subword_vocabulary()],
            pad_id=PAD,
            eos_id=EOS,
        ),
        "SubwordNMTTokenizer": SubwordNMTTokenizer.from_files(codes, subword_vocabulary()),
    }
