"""Names of languages, and which one a text is in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

# ISO 639, and what else a code has in BCP 47: "de", "deu", "pt-BR", "zh-Hans".
CODE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
# Characters that are enough to tell a language by.
_ENOUGH = 2000

_NAMES = """
af Afrikaans, am Amharic, an Aragonese, ar Arabic, as Assamese, az Azerbaijani, be Belarusian,
bg Bulgarian, bn Bengali, br Breton, bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish,
de German, dz Dzongkha, el Greek, en English, eo Esperanto, es Spanish, et Estonian, eu Basque,
fa Persian, fi Finnish, fo Faroese, fr French, ga Irish, gl Galician, gu Gujarati, he Hebrew,
hi Hindi, hr Croatian, ht Haitian Creole, hu Hungarian, hy Armenian, id Indonesian, is Icelandic,
it Italian, ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada, ko Korean,
ku Kurdish, ky Kyrgyz, la Latin, lb Luxembourgish, lo Lao, lt Lithuanian, lv Latvian, mg Malagasy,
mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese, nb Norwegian Bokmål,
ne Nepali, nl Dutch, nn Norwegian Nynorsk, no Norwegian, oc Occitan, or Odia, pa Punjabi, pl Polish,
ps Pashto, pt Portuguese, qu Quechua, ro Romanian, ru Russian, rw Kinyarwanda, se Northern Sami,
si Sinhala, sk Slovak, sl Slovenian, sq Albanian, sr Serbian, sv Swedish, sw Swahili, ta Tamil,
te Telugu, th Thai, tl Tagalog, tr Turkish, ug Uyghur, uk Ukrainian, ur Urdu, vi Vietnamese,
vo Volapük, wa Walloon, xh Xhosa, zh Chinese, zu Zulu
"""
NAMES = dict(entry.split(maxsplit=1) for entry in " ".join(_NAMES.split()).split(", "))


def language_name(code: str) -> str:
    """A language's English name; the code of one that has none here."""
    language, _, rest = code.partition("-")
    name = NAMES.get(language)
    if name is None:
        return code
    return f"{name} ({rest})" if rest else name


class Detected(NamedTuple):
    """A language, and how sure that is, from 0 to 100."""

    language: str
    confidence: float


class Detector:
    """Tells the language of a text, by the model inside the package `py3langid`."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def rank(self, text: str, among: Iterable[str] | None = None) -> list[Detected]:
        """The languages that a text may be in, the likeliest first; none of a text of no letters.

        Args:
            text: Its beginning is looked at.
            among: Codes of the only ones that it may be in; None: any that the package knows.
        """
        beginning = text[:_ENOUGH]
        if not any(map(str.isalpha, beginning)):
            return []
        found: list[tuple[str, float]] = self._identifier.rank(beginning)
        if among is not None:
            # The package knows "zh" and no "zh-Hans".
            codes = {code.partition("-")[0]: code for code in sorted(among, reverse=True)}
            found = [(codes[language], share) for language, share in found if language in codes]
            # Shares of a smaller sum are what a choice among these alone would have given.
            whole = sum(share for _, share in found)
            found = [(language, share / whole) for language, share in found] if whole else []
        return [Detected(language, round(100 * share, 1)) for language, share in found]
