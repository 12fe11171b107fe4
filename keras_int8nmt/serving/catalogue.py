"""The models of a service: which languages they are of, and the way from one to another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_int8nmt.serving.errors import RefusalError, ServingError, shown
from keras_int8nmt.serving.languages import CODE, language_name
from keras_int8nmt.storage.card import read_card
from keras_int8nmt.translation.translator import Translator, load_translator

# The entry of a card that names both languages: `save_folder(..., card={"languages": [...]})`.
LANGUAGES = "languages"


class Pair(NamedTuple):
    """The languages of a model, such as "en" and "de"."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


class ServedModel:
    """A model of a service.

    Attributes:
        pair: Its languages.
        precision: "int8", "float32" or "mixed".
        translator: With a tokenizer.
    """

    def __init__(self, pair: Pair, translator: Translator) -> None:
        assert translator.tokenizer is not None
        self.pair, self.translator = pair, translator
        self.precision = str(getattr(translator.model, "precision", "float32"))
        tokenizer: Any = translator.tokenizer
        self._remark: Callable[[str], str | None] = getattr(tokenizer, "remark", lambda _: None)

    def check(self, sentence: str, name: str) -> None:
        """Refuses a sentence that the translator would cut, or warn of.

        Args:
            sentence: To translate.
            name: What the reason calls it, such as "Sentence 1".
        """
        if self._remark(sentence) is not None:
            raise RefusalError(400, f"{name} begins with a language code that the model has not.")
        most = self.translator.max_source_length
        # A token has at least a byte; a tokenizer adds one or two.
        if len(sentence.encode()) + 2 <= most:
            return
        assert self.translator.tokenizer is not None
        try:
            tokens = len(self.translator.tokenizer.encode(sentence))
        except Exception as error:  # whatever somebody's tokenizer raises
            raise RefusalError(400, f"{name} can't be tokenized.") from error
        if tokens > most:
            raise RefusalError(413, f"{name} has {tokens} tokens; the model takes {most}.")


def load_model(name: str, options: Mapping[str, Any], alternatives: int = 0) -> ServedModel:
    """Loads a model for a service, and ends its threads: it may be forked.

    Args:
        name: `FOLDER`, whose card names its languages, or `SOURCE-TARGET=FOLDER`, such as
            "en-de=models/en-de".
        options: Arguments of `Translator`.
        alternatives: Further translations of a sentence that may be asked for, as far as the beam
            has them.

    Raises:
        ServingError: where no languages are named, or the folder holds no tokenizer.
        ModelFolderError, SpecFileError, TokenizerError, RuntimeError: see `load_translator`.
    """
    pair, folder = _named(name)
    translator = load_translator(folder, **options)
    if translator.tokenizer is None:
        raise ServingError(f"{folder!r} has no tokenizer.")
    translator.close()
    if alternatives and "num_hypotheses" not in options:
        # How many the beam has is known now, be it the model's own word. The best stays the same.
        hypotheses = min(translator.beam_size, 1 + alternatives)
        translator = Translator(
            translator.model, translator.tokenizer, **{**options, "num_hypotheses": hypotheses}
        )
    return ServedModel(pair, translator)


def _named(name: str) -> tuple[Pair, str]:
    languages, equals, folder = name.partition("=")
    # A folder's name may have a "=" itself.
    if equals and (pair := _pair(languages.split("-"))) is not None:
        return pair, folder
    if equals and not os.path.exists(name):
        raise ServingError(
            f"{languages!r} of {name!r} names no two languages; expected two codes with a hyphen, "
            "such as en-de, or with two colons where a code has one: zh-Hans::pt-BR."
        )
    told = read_card(Path(name)).get(LANGUAGES)
    if not isinstance(told, list) or (pair := _pair(told)) is None:
        raise ServingError(
            f"The card of {name!r} does not say which languages it is of; name them: "
            f"SOURCE-TARGET={name}."
        )
    return pair, name


def _pair(codes: Sequence[Any]) -> Pair | None:
    """Two languages of a list of two codes; longer codes are put between two colons."""
    if len(codes) != 2:
        joined = "-".join(map(str, codes))
        codes = joined.split("::")
    if len(codes) != 2 or not all(isinstance(c, str) and CODE.fullmatch(c) for c in codes):
        return None
    return None if codes[0] == codes[1] else Pair(*codes)


class Catalogue:
    """Models by their languages.

    Args:
        models: Of a pair there may be several of different precision; the first is the one that
            translates where none is asked for.
        pivots: Languages through which is translated where no model goes all the way.

    Raises:
        ServingError: for two models of the same languages and precision, or a pivot that no model
            has.
    """

    def __init__(self, models: Iterable[ServedModel], pivots: Sequence[str] = ()) -> None:
        self.models = list(models)
        if not self.models:
            raise ServingError("A service needs a model.")
        self._by_pair: dict[Pair, dict[str, ServedModel]] = {}
        for model in self.models:
            same = self._by_pair.setdefault(model.pair, {})
            if model.precision in same:
                raise ServingError(
                    f"Two models of precision {model.precision} are of {model.pair}; of the same "
                    "languages there can be one of each precision."
                )
            same[model.precision] = model
        self.codes = sorted({code for pair in self._by_pair for code in pair})
        for pivot in pivots:
            if pivot not in self.codes:
                raise ServingError(f"No model has the language {pivot!r} to translate through.")
        self._pivots = tuple(pivots)

    def first_source(self, target: str) -> str:
        """The first language from which `target` is reached; `target` where there is none."""
        return next((code for code in self.codes if self._goes(code, target)), target)

    def languages(self) -> list[dict[str, Any]]:
        """As `/languages` answers: the languages from which something can be translated."""
        found = []
        for code in self.codes:
            targets = [target for target in self.codes if self._goes(code, target)]
            if targets:
                found.append({"code": code, "name": language_name(code), "targets": targets})
        return found

    def way(self, source: str, target: str, precision: str = "") -> list[ServedModel]:
        """The models to translate with, one after the other.

        Args:
            source: Code of a language.
            target: Likewise; the same needs no model.
            precision: Of the models; empty: the first of each pair.

        Raises:
            RefusalError: where there is no way.
        """
        for code in (source, target):
            if code not in self.codes:
                raise RefusalError(
                    400, f"{shown(code)} is no language of this service; see /languages."
                )
        if source == target:
            return []
        found = self._way(source, target, precision)
        if not found:
            of_precision = f" of precision {precision}" if precision else ""
            raise RefusalError(
                400, f"No model{of_precision} goes from {source} to {target}; see /languages."
            )
        return found

    def _goes(self, source: str, target: str) -> bool:
        return source != target and bool(self._way(source, target))

    def _way(self, source: str, target: str, precision: str = "") -> list[ServedModel]:
        direct = self._model(Pair(source, target), precision)
        if direct is not None:
            return [direct]
        for pivot in self._pivots:
            first = self._model(Pair(source, pivot), precision)
            second = self._model(Pair(pivot, target), precision)
            if first is not None and second is not None:
                return [first, second]
        return []

    def _model(self, pair: Pair, precision: str) -> ServedModel | None:
        models = self._by_pair.get(pair, {})
        return models.get(precision) if precision else next(iter(models.values()), None)
