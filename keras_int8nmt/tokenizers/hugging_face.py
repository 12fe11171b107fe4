"""`HuggingFaceTokenizer`: a `tokenizer.json`, run by the `tokenizers` package."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_int8nmt._text import visible
from keras_int8nmt._untrusted import json_object
from keras_int8nmt.tokenizers.errors import TokenizerError
from keras_int8nmt.tokenizers.vocabulary import CONFIG_FILE, as_text, read_file

_FILE, _MAP_FILE = "tokenizer.json", "special_tokens_map.json"
FILES = (_FILE, CONFIG_FILE, _MAP_FILE)
# How special tokens are called where no file says which of them is what.
_USUAL = {
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "[END]", "<|endoftext|>", "[SEP]"),
}
_MOST_IDS = 1 << 31


class HuggingFaceTokenizer:
    """A tokenizer of the `tokenizers` package, which the extra `tokenizers` installs.

    Args:
        source: A folder with a `tokenizer.json`, such a file, or a live `tokenizers.Tokenizer`,
            which is copied.
        pad_token, eos_token: The tokens that are padding and the end. None: what
            `tokenizer_config.json` or `special_tokens_map.json` beside the file say, then what
            `tokenizer.json` pads with, then a special token of a usual name, such as `</s>`, where
            there is one alone.
        pad_id, eos_id: Their ids, for where there is no such token.

    Attributes:
        pad_id, eos_id: Ids of the special tokens.

    A source gets what the file's post-processor adds, and the end token once, at its end. What the
    file says of padding and truncation is left to the model. A text that has the end or padding
    written in it is text: no line ends a sentence early.

    Raises:
        TokenizerError: Names a file that is missing or damaged, or says which token to give.
        ImportError: without the `tokenizers` package.

    Example:

        >>> tokenizer = HuggingFaceTokenizer("folder/tokenizer.json", pad_token="<pad>")
        >>> tokenizer.decode(tokenizer.encode("Good morning."))
        'Good morning.'
    """

    def __init__(
        self,
        source: Any,
        *,
        pad_token: str | None = None,
        eos_token: str | None = None,
        pad_id: int | None = None,
        eos_id: int | None = None,
    ) -> None:
        told: list[tuple[str, Mapping[str, Any]]] = []
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            path = path / _FILE if path.is_dir() else path
            place, self._content = repr(str(path)), read_file(path)
            told = [
                (repr(str(p)), _settings(p)) for p in map(path.with_name, (CONFIG_FILE, _MAP_FILE))
            ]
        else:
            place, self._content = f"the {type(source).__name__} given", _serialized(source)
        self._place = place
        self._tokenizer = _opened(place, self._content)
        # A text in which the end is written is encoded by this one.
        self._plain = _opened(place, self._content)
        self._plain.encode_special_tokens = True
        padding = self._tokenizer.padding
        for each in (self._tokenizer, self._plain):
            each.no_padding()
            each.no_truncation()
        if padding is not None:
            told.append((place, {"pad_token": padding["pad_token"]}))
        special = self._tokenizer.get_added_tokens_decoder().values()
        names = {token.content for token in special if token.special}
        self.pad_id, self.eos_id = (
            self._special_id(place, name, token, i, told, names)
            for name, token, i in (("pad", pad_token, pad_id), ("eos", eos_token, eos_id))
        )
        if self.pad_id == self.eos_id:
            raise TokenizerError(f"{place}: padding and the end have the same id {self.pad_id}.")
        self._ends = frozenset({self.pad_id, self.eos_id})
        self._ids = frozenset(self._tokenizer.get_vocab(with_added_tokens=True).values())
        # Parts that do not fit one another are found out when they run.
        if strange := set(self._encoded("a b", whole=True)) - self._ids - self._ends:
            raise TokenizerError(f"{place} adds the token id {min(strange)}, which it has not.")
        codes = [name for name in names if self._tokenizer.token_to_id(name) not in self._ends]
        self._codes = re.compile("|".join(map(re.escape, sorted(codes)))) if codes else None

    def _special_id(
        self,
        place: str,
        name: str,
        token: str | None,
        fallback: int | None,
        told: Iterable[tuple[str, Mapping[str, Any]]],
        names: Collection[str],
    ) -> int:
        asked = ("`" + name + "_token`", {f"{name}_token": token})
        for where, settings in (asked, *told):
            i = settings.get(f"{name}_token_id")
            if type(i) is int and 0 <= i < _MOST_IDS:
                return i
            each = settings.get(f"{name}_token")
            # `transformers` also writes {"content": "<pad>", "lstrip": false, ...}.
            each = each.get("content") if isinstance(each, dict) else each
            if i is not None or not (each is None or isinstance(each, str)):
                raise TokenizerError(
                    f"{where}: {name}_token is {str(each)[:40]!r} and {name}_token_id "
                    f"{str(i)[:40]!r}; expected are a token and an id."
                )
            if each is not None:
                found: int | None = self._tokenizer.token_to_id(as_text(each))
                if found is None:
                    raise TokenizerError(
                        f"{place} has no token {each[:40]!r}, which is {name}_token by {where}."
                    )
                return found
        usual = [each for each in _USUAL[name] if each in names]
        if len(usual) == 1:
            return int(self._tokenizer.token_to_id(usual[0]))
        if fallback is not None:
            return fallback
        which = f"it has {' and '.join(usual)}" if usual else "none of its special tokens is known"
        raise TokenizerError(
            f"{place} does not tell its {name} token, and {which}: give "
            f"HuggingFaceTokenizer(..., {name}_token=...)."
        )

    @property
    def source_ids(self) -> Collection[int]:
        """The ids that `encode` gives, padding among them."""
        return self._ids | self._ends

    @property
    def target_ids(self) -> Collection[int]:
        """The ids that `decode` knows."""
        return self._ids | self._ends

    def has_text(self, text: str) -> bool:
        """Whether there is anything to translate; special tokens, as of languages, are nothing."""
        return visible(text if self._codes is None else self._codes.sub(" ", text))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with what the post-processor adds, and the end token."""
        return self._encoded(text, whole=True)

    def encode_target(self, text: str) -> list[int]:
        """Token ids of a translation and the end token, without what the post-processor adds."""
        return self._encoded(text, whole=False)

    def _encoded(self, text: str, whole: bool) -> list[int]:
        text = as_text(text)
        with _refused(self._place):
            encoding = self._tokenizer.encode(text, add_special_tokens=whole)
            if self._has_ends(encoding):
                encoding = self._plain.encode(text, add_special_tokens=whole)
        ids: list[int] = encoding.ids
        if self._has_ends(encoding):
            # A vocabulary that has the end as a word like any other.
            marks = zip(ids, encoding.special_tokens_mask, strict=True)
            ids = [i for i, added in marks if added or i not in self._ends]
        while ids and ids[-1] == self.eos_id:
            ids.pop()
        return [*ids, self.eos_id]

    def _has_ends(self, encoding: Any) -> bool:
        """Whether the text itself, and no post-processor, made an end or padding."""
        marks = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        return any(i in self._ends and not added for i, added in marks)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of target token ids, without special tokens."""
        shown = [i for i in map(int, ids) if i not in self._ends]
        for i in shown:
            if i not in self._ids:
                raise ValueError(f"Token id {i} is not in the target vocabulary.")
        with _refused(self._place):
            text: str = self._tokenizer.decode(shown, skip_special_tokens=True)
        return text.strip()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `tokenizer.json` and the two ids into an existing folder."""
        (Path(folder) / _FILE).write_bytes(self._content)
        ids = {"pad_token_id": self.pad_id, "eos_token_id": self.eos_id}
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(ids))


def _settings(path: Path) -> Mapping[str, Any]:
    if not os.path.lexists(path):
        return {}
    return json_object(path, read_file(path), TokenizerError)


def _serialized(tokenizer: Any) -> bytes:
    try:
        text: str = tokenizer.to_str()
    except Exception as error:  # the package raises no class of its own
        raise TokenizerError(
            f"The {type(tokenizer).__name__} can't be copied: {error}. One with parts in Python is "
            "a tokenizer of your own; docs/tokenizers.md says what it must have."
        ) from error
    return text.encode()


@contextmanager
def _refused(place: str) -> Iterator[None]:
    """Raises TokenizerError for whatever the package finds wrong with a file."""
    try:
        yield
    except BaseException as error:
        # Some parts of it panic, which is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TokenizerError(
                f"{place} is no tokenizer.json that can be run: {str(error)[:200]}"
            ) from error
        raise


def _require() -> None:
    if importlib.util.find_spec("tokenizers") is None:
        raise ImportError(
            "A tokenizer.json needs the package tokenizers, which can't be found: "
            'pip install "keras-int8nmt[tokenizers]".'
        )


def _opened(place: str, content: bytes) -> Any:
    _require()
    from tokenizers import Tokenizer

    with _refused(place):
        return Tokenizer.from_buffer(content)


def of_tokenizer(tokenizer: Any, pad_id: int | None, eos_id: int | None) -> HuggingFaceTokenizer:
    """A `tokenizers.Tokenizer`; the ids are for where it does not tell."""
    return HuggingFaceTokenizer(tokenizer, pad_id=pad_id, eos_id=eos_id)


def of_transformers(tokenizer: Any, pad_id: int | None, eos_id: int | None) -> HuggingFaceTokenizer:
    """A fast tokenizer of `transformers`, by the `tokenizers.Tokenizer` that it holds."""
    return HuggingFaceTokenizer(
        tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
        pad_id=pad_id,
        eos_id=eos_id,
    )


def bytes_bpe(
    vocabulary: Mapping[str, int],
    merges: Iterable[str],
    special: Iterable[str],
    add_prefix_space: bool,
    words: str | None,
) -> Any:
    """A `tokenizers.Tokenizer` of byte-level BPE.

    Args:
        vocabulary: Pieces and their ids.
        merges: Two symbols each, with a space between.
        special: Tokens that no text is taken apart for.
        add_prefix_space: Whether a text gets a space before it.
        words: What a text is split into first, a regular expression; None: nothing is.
    """
    _require()
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pairs = [
        (left, right)
        for left, _, right in (merge.partition(" ") for merge in merges)
        if not left.startswith("#version:")
    ]
    made = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=pairs))
    made.add_special_tokens(list(special))
    of_bytes = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False)
    first = [] if words is None else [pre_tokenizers.Split(Regex(words), "isolated")]
    made.pre_tokenizer = pre_tokenizers.Sequence([*first, of_bytes])
    made.decoder = decoders.ByteLevel()
    return made
