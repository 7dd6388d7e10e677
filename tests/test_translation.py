"""Words and numbers in the reader's language, and a catalogue that is complete."""

from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from dogpoc.translation import (
    LANGUAGES,
    LOCALES,
    _,
    breed_label,
    known_language,
    ngettext,
    number,
    percent,
    points,
    use_language,
)
from dogpoc.translation import language as language_in_use

CHECKOUT = Path(__file__).parents[1]
OTHERS = sorted(set(LANGUAGES) - {"en"})


@pytest.mark.parametrize(
    ("locale", "key"),
    [("fr", "fr"), ("fr-CA", "fr"), ("fr_FR.UTF-8", "fr"), ("en-GB", "en"), ("de", "en"), ("C", "en"), ("<b>", "en")],
)
def test_a_locale_is_served_by_its_language_else_by_english(locale, key):
    assert known_language(locale) == key


def test_no_locale_is_english():
    assert (known_language(None), known_language("")) == ("en", "en")


def test_the_environment_chooses_the_language_until_the_user_does(monkeypatch):
    from dogpoc import translation

    translation._language.set("")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert language_in_use() == "fr"
    use_language("en")
    assert language_in_use() == "en"


@pytest.mark.parametrize(
    ("language", "integer", "decimal", "share"),
    [("en", "1,204", "0.160", "86.1\u00a0%"), ("fr", "1\u202f204", "0,160", "86,1\u00a0%")],
)
def test_numbers_are_written_as_the_language_writes_them(language, integer, decimal, share):
    use_language(language)
    assert (number(1204), number(0.16, 3), percent(0.8612)) == (integer, decimal, share)


def test_a_difference_carries_its_sign():
    assert points(0.0234) == "+2.3\u00a0pts"
    assert points(-0.01) == "\u22121.0\u00a0pts"


def test_a_difference_that_rounds_to_nothing_has_no_direction():
    assert points(0.0001) == points(-0.0001) == points(0.0) == "\u00b10.0\u00a0pts"


def test_a_breed_is_shown_without_the_underscore_of_its_folder():
    assert breed_label("German_short-haired_pointer") == "German short-haired pointer"


def test_an_unknown_message_is_shown_as_it_is():
    use_language("fr")
    assert _("no such message 7f3a") == "no such message 7f3a"
    assert ngettext("{n} cat 7f3a", "{n} cats 7f3a", 2) == "{n} cats 7f3a"


# -- the catalogue ------------------------------------------------------------------------------------------------

UPDATE = "see README.md, 'Translations'"


def messages_in_source() -> dict[tuple[str, ...], list[str]]:
    """Every message that the source asks for, (singular,) or (singular, plural), with the files that hold it."""
    with (LOCALES / "babel.cfg").open(encoding="utf-8") as file:
        places, _options = parse_mapping_cfg(file)
    found: dict[tuple[str, ...], list[str]] = {}
    for file, _line, message, _comments, _context in extract_from_dir(CHECKOUT, places):
        found.setdefault((message,) if isinstance(message, str) else tuple(message), []).append(file)
    return found


def catalogue(language: str) -> Catalog:
    path = LOCALES / language / "LC_MESSAGES" / "dogpoc.po"
    assert path.exists(), f"no {path.relative_to(CHECKOUT)}: {UPDATE}"
    with path.open("rb") as file:
        return read_po(file, locale=language)


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def placeholders(text: str) -> set[str]:
    """Names in braces, with their formats: {"share:.1f"}."""
    return {f"{name}:{spec}" for _text, name, spec, _conversion in Formatter().parse(text) if name is not None}


def translated(language: str) -> list[Message]:
    return [message for message in catalogue(language) if message.id]


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_of_the_source_is_translated(language):
    known = {forms(message.id): message for message in translated(language)}
    wanted = messages_in_source()
    missing = [key for key in wanted if key not in known or not all(forms(known[key].string))]
    assert missing == [], f"{len(missing)} of {len(wanted)} have no translation: {UPDATE}"


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_a_guess_or_left_over(language):
    assert [message.id for message in translated(language) if message.fuzzy] == []
    assert list(catalogue(language).obsolete) == []
    assert {forms(message.id) for message in translated(language)} - set(messages_in_source()) == set()


@pytest.mark.parametrize("language", OTHERS)
def test_translations_hold_the_same_placeholders_as_the_source(language):
    for message in translated(language):
        source = forms(message.id)
        for form in forms(message.string):
            assert placeholders(form) <= set().union(*map(placeholders, source)), source
        assert placeholders(forms(message.string)[-1]) == placeholders(source[-1]), source
