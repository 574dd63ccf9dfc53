"""The real voices that can be fetched, one speaker each.

The packages name the people. The same archive has other voices, which are kept
for what nothing was tuned on: Tux Paint's stamps in Russian, Bulgarian and
Greek, some in Danish, Lithuanian, Dutch and English, and Asterisk's prompts in
Russian.
"""

import dataclasses

from lingvo_like import hyperparams
from tasks import tables
from tasks.asr.corpora.fetched import asterisk, stamps

_ANYBODY = stamps.Person()
_STAMPS = "tuxpaint-stamps-default"
_CC_BY = "licence CC-BY-3.0 (https://creativecommons.org/licenses/by/3.0/)"
_CC_BY_SA = (
    "licence CC-BY-SA-3.0 (https://creativecommons.org/licenses/by-sa/3.0/)"
)
_GPL = "licence GPL-2 (https://www.gnu.org/licenses/old-licenses/gpl-2.0.html)"
# What keys of these folders say follows from the key.
_FIXED_WORDING = ("digits", "letters", "phonetic")


@dataclasses.dataclass(frozen=True)
class Voice:
    """One voice.

    Attributes:
        name: what it is asked for by.
        language: a code such as "es".
        packages: of the Debian archive, that of the recordings first.
        notice: whose voice it is, and its licence.
        prompts: where they are; None for a voice of the stamps.
        own_speaker: the speaker id, where it is not the name.
        person: which of the stamps are the voice's.
    """

    name: str
    language: str
    packages: tuple[str, ...]
    notice: str
    prompts: asterisk.Prompts | None = None
    own_speaker: str = ""
    person: stamps.Person = _ANYBODY

    @property
    def speaker(self) -> str:
        """The speaker id of its utterances."""
        return self.own_speaker or self.name


def _core_sounds(
    language: str, sounds: str, rights: str, own_speaker: str = ""
) -> Voice:
    texts = f"asterisk-core-sounds-{language}"
    return Voice(
        f"asterisk-{language}",
        language,
        (f"{texts}-g722", texts),
        f"Asterisk core sounds, recorded by {rights}.",
        asterisk.Prompts(sounds, f"core-sounds-{language}.txt.gz"),
        own_speaker,
    )


def _stamps(
    language: str, name: str, person: stamps.Person = _ANYBODY
) -> Voice:
    return Voice(
        f"stamps-{language}",
        language,
        (_STAMPS,),
        f"Tux Paint's stamps, spoken by {name}, copyright 2002-2022 Bill "
        f"Kendrick; {_GPL}.",
        person=person,
    )


_ALL = (
    _core_sounds(
        "en",
        "en_US_f_Allison",
        f"Allison Smith, copyright 2003-2010; {_CC_BY_SA}",
        # Her split goes by it, and published figures by her split.
        "asterisk-allison",
    ),
    _core_sounds(
        "es",
        "es_MX_f_Allison",
        f"Allison Smith, copyright 2003-2010; {_CC_BY_SA}",
    ),
    _core_sounds(
        "fr", "fr_CA_f_June", f"June Wallack, copyright 2006-2008; {_CC_BY_SA}"
    ),
    _core_sounds("it", "it_IT_m_Carlo", f"Carlo Flora, 2012; {_CC_BY}"),
    Voice(
        "prompt-it-menardi",
        "it",
        ("asterisk-prompt-it-menardi-wav", "asterisk-core-sounds-it"),
        "Italian prompts for Asterisk, copyright 2006-2011 Marco Menardi and "
        f"Paola Dal Zot, the voice (http://www.voip.ammdomus.it); {_CC_BY_SA}.",
        asterisk.Prompts("it_IT_f_Menardi", "core-sounds-it.txt.gz"),
    ),
    Voice(
        "prompt-fr-armelle",
        "fr",
        ("asterisk-prompt-fr-armelle", "asterisk-core-sounds-fr"),
        "French prompts for Asterisk, spoken by Armelle Desjardins, copyright "
        "2006 Michel Gutierrez; a licence of its own, which permits use and "
        "redistribution with its text.",
        asterisk.Prompts("sounds/fr", "core-sounds-fr.txt.gz", _FIXED_WORDING),
    ),
    Voice(
        "prompt-es-co",
        "es",
        ("asterisk-prompt-es-co", "asterisk-core-sounds-es"),
        "Colombian prompts for Asterisk, spoken by July E. Jimenez, copyright "
        f"2006 Avatar Ltda.; {_GPL}.",
        asterisk.Prompts("sounds/es", "core-sounds-es.txt.gz", _FIXED_WORDING),
    ),
    _stamps("es", "Estefania Ortiz"),
    # Two others spoke 173 of them, in 2005 and 2007.
    _stamps("fr", "PaulK", stamps.Person("libVorbis I 20101101")),
    # Most animals were spoken without an article, and letters by their name.
    _stamps(
        "ca",
        "Pere Pujal Carabantes",
        stamps.Person(reworded=("animals", "symbols/alphabets")),
    ),
    _stamps("ro", "Tabbytha"),
    _stamps("be", "Kseniya Buraya"),
)
VOICES = {voice.name: voice for voice in _ALL}
DEFAULT = "asterisk-en"


def chosen(names: list[str]) -> tuple[Voice, ...]:
    """The voices of these names, each once, in the order of `VOICES`.

    Raises:
        ValueError: there is no such voice, or none is named.
    """
    if names == ["all"]:
        return _ALL
    if not names:
        raise ValueError(
            f"no voice is named; name some of {', '.join(VOICES)}, or all"
        )
    for name in names:
        if name not in VOICES:
            raise ValueError(
                f"unknown voice {name!r}. "
                f"{hyperparams.did_you_mean(name, VOICES)}"
            )
    return tuple(voice for voice in _ALL if voice.name in names)


def listing() -> str:
    """All voices, as lines of text."""
    head = ("voice", "language", "speaker", "of")
    rows = [(v.name, v.language, v.speaker, v.notice) for v in _ALL]
    return tables.aligned([head, *rows])
