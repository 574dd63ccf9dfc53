"""One spelling for characters that a reader cannot tell apart.

Transcripts come from word processors, web pages and phones, and hypotheses from
a model. What differs between them by typography alone must not become another
label, another phrase or a word error, so everything that is compared, split or
learnt from goes through `fold` first.
"""

import functools
import re
import unicodedata

# Punctuation that stands for a word: "percent", "and", "at".
_SPOKEN_PUNCTUATION = "%&@#*/\\§‰"

# What a reader sees, and the characters that are written for it.
_SAME = {
    "'": "‘’‚‛ʻʼ´`′‵＇",
    '"': "“”„‟″‶〝〞〟＂",
    "-": "‐‑⁃−﹣－",
    # Every other space is one by its category; this blank Braille cell is not.
    " ": "\u2800",
    "...": "…",
    "..": "‥",
    ".": "․",
    # A joiner of graphemes, Hangul fillers, the sign for an object in the text
    # and variation selectors. Their categories are those of marks and letters.
    "": "\u034f\u115f\u1160\u3164\uffa0\ufffc"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])),
}
_TABLE = {
    ord(character): plain
    for plain, characters in _SAME.items()
    for character in characters
}
# C1 controls are Windows-1252 that was read as Latin-1.
_WINDOWS_1252 = {
    code: bytes([code]).decode("cp1252", "ignore") for code in range(128, 160)
}
# Signs of Arabic and Kaithi numbers that are format characters and visible.
_VISIBLE_FORMATS = re.compile(
    "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd]"
)

# Scripts whose letters change shape by a joiner: Arabic, Syriac, N'Ko and the
# scripts of India, Burma, Cambodia and Mongolia.
_JOINED = (
    "\u0600-\u07ff\u0860-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff"
    "\u1800-\u18af\ua840-\ua87f\ua8e0-\ua8ff\uaa60-\uaa7f"
    "\U00011000-\U000114ff"
)
_STRAY_JOINER = re.compile(
    f"(?<![{_JOINED}])[\u200c\u200d]+|[\u200c\u200d]+(?![{_JOINED}])"
)
_JOINERS = str.maketrans("", "", "\u200c\u200d")
# Ligatures, Arabic presentation forms, half-width and full-width letters. Not
# all of NFKC: that would make 10² out of 10 squared into 102, and take Thai
# vowels apart.
_OTHER_FORMS = re.compile("[\ufb00-\ufdff\ufe70-\ufefe\uff01-\uffee]")
# Chinese and Japanese write these at full width, and so do models.
_KEPT_FORMS = frozenset("！（），：；？［］｛｝｟｠｡｢｣､･\ufd3e\ufd3f")
_FRACTION = re.compile("[¼-¾⅐-⅞↉]")
# Vowel signs that Arabic and Hebrew may leave out, cantillation, and the
# stroke that only widens an Arabic word.
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc"
    "\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)


# A phrase is folded for its label, its split and each of its scores.
@functools.lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """The text without differences that are typography alone.

    - Letters and their accents are composed (NFC); ligatures, presentation
      forms, and letters, digits and signs of full or half width become plain.
    - Typographic apostrophes and quotation marks become straight, hyphens
      and minus signs become `-`, and `…` becomes `...`. Dashes stay.
    - Byte order marks, soft hyphens, zero-width spaces, marks of direction,
      variation selectors and control characters go. C1 controls are read as
      Windows-1252, which they nearly always are.
    - Zero-width joiners and non-joiners stay between letters of the scripts
      that they shape, such as Persian, Hindi and Sinhala, and go elsewhere.
    - Every space, tab and end of line is a space, one between two words.

    Folding again changes nothing.
    """
    # Nothing of it applies to most transcripts.
    if text.isascii() and text.isprintable() and "`" not in text:
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text.translate(_WINDOWS_1252))
    text = _OTHER_FORMS.sub(_plain_form, text.translate(_TABLE))
    text = "".join(filter(None, map(_visible, text.translate(_TABLE))))
    text = unicodedata.normalize("NFC", _STRAY_JOINER.sub("", text))
    return " ".join(text.split())


def _plain_form(match: re.Match[str]) -> str:
    form = match[0]
    return form if form in _KEPT_FORMS else unicodedata.normalize("NFKC", form)


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cc":
        return ""
    if category == "Cf" and not _VISIBLE_FORMATS.match(character):
        return character if character in "\u200c\u200d" else ""
    return character


def without_optional_marks(text: str) -> str:
    """The folded text without what a writer may leave out at will.

    Points of Hebrew and Arabic, the tatweel and joiners say how a word looks or
    is read, not which word it is.
    """
    return _POINTS.sub("", fold(text).translate(_JOINERS))


def with_plain_fractions(text: str) -> str:
    """The text with `5½` as `5 1/2`, not as the `51/2` of NFKC."""
    return _FRACTION.sub(
        lambda match: (
            f" {unicodedata.normalize('NFKC', match[0]).replace('⁄', '/')}"
        ),
        text,
    )


def is_word(text: str) -> bool:
    """Whether there is a letter or digit; punctuation alone is no word."""
    return any(unicodedata.category(each)[0] in "LN" for each in text)


def is_mark(character: str) -> bool:
    """Whether this is punctuation."""
    return unicodedata.category(character)[0] == "P"


def is_spoken(character: str) -> bool:
    """Whether people may say a word where this mark is written.

    Signs of currencies and of arithmetic are such, and quotation marks not.
    """
    return (
        character in _SPOKEN_PUNCTUATION
        or unicodedata.category(character)[0] == "S"
    )
