"""The words that a user reads: English in the source, other languages from locale/*.po; numbers likewise."""

import gettext
import io
import os
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages import mofile, pofile
from babel.numbers import format_decimal

LOCALES = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "fr": "Français"}

_language: ContextVar[str] = ContextVar("language", default="")


def use_language(language: str) -> None:
    """Speak `language` (a key of LANGUAGES, or a locale such as "fr-FR") in this thread from now on; else English."""
    _language.set(known_language(language))


def language() -> str:
    """The language in use, a key of LANGUAGES; by default the one of the environment (LC_ALL, LC_MESSAGES, LANG)."""
    return _language.get() or known_language(
        next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "en")
    )


def known_language(name: str | None) -> str:
    """The key of LANGUAGES that serves locale `name`.

    >>> known_language("fr-CA"), known_language("fr_FR.UTF-8"), known_language("xx"), known_language(None)
    ('fr', 'fr', 'en', 'en')
    """
    try:
        code = Locale.parse((name or "en").split(".")[0].replace("-", "_")).language
    except (UnknownLocaleError, ValueError):
        return "en"
    return code if code in LANGUAGES else "en"


@lru_cache
def _catalog(language: str) -> gettext.NullTranslations:
    path = LOCALES / language / "LC_MESSAGES" / "dogpoc.po"
    if not path.exists():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    mofile.write_mo(compiled, pofile.read_po(io.BytesIO(path.read_bytes()), locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(message: str) -> str:
    """`message` in the language in use. Values go in afterwards: _("no run '{run}'").format(run=name)."""
    return _catalog(language()).gettext(message)


def N_(message: str) -> str:
    """`message` itself: marks words that are data (a method's summary) for translation where they are shown."""
    return message


def translated(data: str) -> str:
    """Words that N_ marked where they stand as data, in the language in use."""
    return _catalog(language()).gettext(data)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The form of a message that fits the number `n`, in the language in use."""
    return _catalog(language()).ngettext(singular, plural, int(n))


def number(value: float, digits: int = 0) -> str:
    """A number as the language writes it: 1,204 or 1 204; 0.160 or 0,160."""
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(value, format=pattern, locale=language())


def percent(share: float, digits: int = 1) -> str:
    """A share in 0..1 for the screen.

    >>> use_language("en"); percent(0.8612)
    '86.1\\xa0%'
    """
    return f"{number(share * 100, digits)}\u00a0%"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares, in percentage points with its sign.

    >>> use_language("en"); points(0.0234), points(-0.01)
    ('+2.3\\xa0pts', '\u22121.0\\xa0pts')
    """
    rounded = round(difference * 100, digits)
    sign = "+" if rounded > 0 else "\u2212" if rounded < 0 else "\u00b1"
    return f"{sign}{number(abs(rounded), digits)}\u00a0pts"


def breed_label(breed: str) -> str:
    """A breed's name in the data ("Afghan_hound") as a reader expects it ("Afghan hound")."""
    return breed.replace("_", " ")
