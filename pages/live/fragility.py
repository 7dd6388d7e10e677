"""The same photo mirrored, darker, blurred ...: where each run changes its mind."""

import pandas as pd
import streamlit as st
from PIL import Image

from dogpoc.photo import thumbnail
from dogpoc.translation import _, breed_label, percent
from dogpoc.variants import NAMES, variants
from pages import shared
from pages.live import answering
from pages.live.answering import Answer

SIDE = 100  # pixels, longer side of a small photo: all seven stand in a row
ENOUGH = 512  # pixels, shorter side: more cost time, and no model sees them


def name_of(variant: str) -> str:
    """A variant as a reader sees it."""
    return {
        "mirrored": _("mirrored"),
        "darkened": _("darker"),
        "blurred": _("blurred"),
        "rotated": _("turned by 15°"),
        "cropped": _("its middle, 80 %"),
        "jpeg": _("poor JPEG (20)"),
        "grey": _("grey"),
    }[variant]


def ask(image: Image.Image, given: dict[str, Answer]) -> dict:
    """{"pictures": JPEG of each variant, role: its likeliest breed and probability in each variant}.

    Raises ModelError, ArtifactError.
    """
    made = answering.in_turn(_make, image)
    found = {"pictures": [thumbnail(variant, SIDE) for variant in made]}
    for role, answer in given.items():
        model = answering.classifier(shared.dataset(), answer.run)
        found[role] = answering.in_turn(answering.tops, model, made)
    return found


def _make(image: Image.Image) -> list[Image.Image]:
    factor = max(1, min(image.size) // ENOUGH)
    return list(variants(image.reduce(factor) if factor > 1 else image).values())


def changes(found: dict, given: dict[str, Answer]) -> dict[str, int]:
    """By role: in how many variants the run names another breed than for the photo."""
    return {role: sum(breed != answer.breeds[0] for breed, _prob in found[role]) for role, answer in given.items()}


def sentence(changed: dict[str, int], given: dict[str, Answer]) -> str:
    """Which run changes its mind how often."""
    n = len(NAMES)
    if len(changed) == 1:
        ((role, times),) = changed.items()
        return _("{run} changes its mind on {times} of {n}.").format(run=given[role].run, times=times, n=n)
    return _("The baseline changes its mind on {baseline} of {n}, the new method on {new} of {n}.").format(
        **changed, n=n
    )


def show(found: dict, given: dict[str, Answer]) -> None:
    """The strip of variants with both runs' answers under each, and the sentence about it."""
    words = sentence(changes(found, given), given)
    st.markdown(f"**{words}**")
    with st.container(horizontal=True, gap="small"):
        for place, variant in enumerate(NAMES):
            with st.container(width=SIDE, gap="xxsmall"):
                st.image(found["pictures"][place], width=SIDE, alt=_("Your photo, {how}").format(how=name_of(variant)))
                lines = [name_of(variant)]
                lines += [_line(role, *found[role][place], answer) for role, answer in given.items()]
                st.caption("  \n".join(lines))
    st.caption(_("**≠** marks another breed than for the photo as it is. One photo says little about a model."))
    shared.table_below(table(found, given), "fragility")


def _line(role: str, breed: str, prob: float, answer: Answer) -> str:
    said = f"{breed_label(breed)} {percent(prob, 0)}"
    return f"{shared.MARK[role]} " + (said if breed == answer.breeds[0] else f"**≠ {said}**")


def table(found: dict, given: dict[str, Answer]) -> pd.DataFrame:
    """A row for each variant: both runs' breed and probability, and whether that is another breed."""
    rows = []
    for place, variant in enumerate(NAMES):
        row = {"variant": variant}
        for role, answer in given.items():
            breed, prob = found[role][place]
            row |= {f"{role}_breed": breed_label(breed), f"{role}_probability": round(prob, 4)}
            row[f"{role}_changed"] = breed != answer.breeds[0]
        rows.append(row)
    return pd.DataFrame(rows)
