"""/attention: where a vision transformer looks, layer by layer and head by head."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import DogpocError, figures
from dogpoc import dataset as photo_files
from dogpoc.metrics import softmax
from dogpoc.photo import read_photo
from dogpoc.translation import _, breed_label, number, percent
from pages import shared
from pages.shared import answering

shared.through_app()

if TYPE_CHECKING:
    from dogpoc.explanation import Attention

TOP = 3  # breeds shown
SMALL = 128  # pixels, both sides, of one of many maps


@dataclass(frozen=True)
class Look:
    """A run's one look at a photo, kept for the session: every layer and head is drawn from it.

    pixels: (S, S, 3) uint8, the part of the photo that the model sees.   breeds, probs: most probable first.
    """

    pixels: np.ndarray
    attention: "Attention"  # maps as float16
    breeds: list[str]
    probs: np.ndarray


def look(run: str, data: bytes) -> Look | str:
    """A run's look at the photo in a file's bytes, or one line why there is none: it has no attention.

    Raises PhotoError, ModelError, ArtifactError.
    """
    image = answering.in_turn(read_photo, data)
    model = answering.classifier(shared.dataset(), run)
    from dogpoc.explanation import ExplanationError

    try:
        attention = answering.in_turn(answering.attention, model, image)
    except ExplanationError as error:
        return str(error)
    order = np.argsort(-attention.logits, kind="stable")
    return Look(
        answering.seen(model, image),
        replace(attention, maps=attention.maps.astype(np.float16)),
        [model.breeds[i] for i in order],
        softmax(attention.logits[None])[0][order],
    )


# -- which photo --------------------------------------------------------------------------------------------------


def choose_test_photo(given: shared.Answers) -> tuple[tuple, bytes] | None:
    """The test photo of the URL (photo=) or of the two select boxes: what it is known by, and its bytes."""
    photos = given.evaluation.photos
    new = shared.answers(shared.dataset(), shared.new())
    wrong = new.predicted != new.evaluation.true
    default = new.evaluation.photos["id"].iloc[int(wrong.argmax())]  # its first mistake, or the first photo
    asked = st.query_params.get("photo", default)
    if asked not in set(photos["id"]):
        st.warning(_("There is no test photo {id}; the first mistake is shown instead.").format(id=repr(asked[:100])))
        asked = default
    breeds = sorted(photos["breed"].unique(), key=str.casefold)
    st.session_state["attention-breed"] = photos.loc[photos["id"] == asked, "breed"].iloc[0]
    st.session_state["attention-photo"] = asked
    left, right = st.columns(2)
    breed = left.selectbox(
        _("Breed"), breeds, format_func=breed_label, key="attention-breed", on_change=_other_breed, args=(photos,)
    )
    said = pd.Series(given.predicted, photos["id"])
    right.selectbox(
        _("Photo"),
        photos.loc[photos["breed"] == breed, "id"].tolist(),
        format_func=lambda photo: _photo_label(photo, breed, given.evaluation.breeds[said[photo]]),
        key="attention-photo",
        on_change=lambda: st.query_params.update(photo=st.session_state["attention-photo"]),
    )
    row = photos[photos["id"] == asked].iloc[0]
    path = photo_files.photo_paths([row["sha256"]], photos["bytes"]).get(row["sha256"])
    if path is None:
        st.info(_("This photo is not on this machine: choose another one."))
        return None
    return (row["sha256"], row["breed"]), path.read_bytes()


def _other_breed(photos: pd.DataFrame) -> None:
    st.query_params["photo"] = photos.loc[photos["breed"] == st.session_state["attention-breed"], "id"].iloc[0]


def _photo_label(photo: str, breed: str, predicted: str) -> str:
    """A photo's number, and what the run stored about it."""
    name = photo.rsplit("/", 1)[-1]
    return f"{name} · ✓" if predicted == breed else f"{name} · → {breed_label(predicted)}"


def choose_photo(run: str) -> tuple[tuple, bytes] | None:
    """The photo to look at: (what it is known by, bytes), or None while there is none. Raises ArtifactError."""
    given = shared.answers(shared.dataset(), run)
    ways = {"test": _("Test photo"), "upload": _("Your own")}
    found = shared.photos_found(given.evaluation.photos)
    way = st.segmented_control(
        _("Which photo"),
        list(ways),
        format_func=ways.get,
        default="test" if found else "upload",
        required=True,
        key="attention-way",
    )
    if way == "test":
        return choose_test_photo(given) if found else None
    upload = st.file_uploader(_("Photo"), key="attention-upload")
    return upload and ((upload.file_id, None), upload.getvalue())


# -- drawing ------------------------------------------------------------------------------------------------------


def show_answer(run: str, role: str, looked: Look, true_breed: str | None) -> None:
    """What the run says, and for a test photo whether that is right."""
    breed, prob = looked.breeds[0], looked.probs[0]
    sentence = _("To {run} it looks like **{breed}** ({prob}).").format(
        run=run, breed=breed_label(breed), prob=percent(prob, 0)
    )
    if true_breed == breed:
        sentence += " " + _("That is right.")
    elif true_breed:
        sentence += " " + _("In truth: **{breed}**.").format(breed=breed_label(true_breed))
    said, top = st.columns(2, vertical_alignment="center")
    said.markdown(f"#### {shared.MARK[role]} {sentence}")
    bars = figures.probability_bars(looked.breeds[:TOP], looked.probs[:TOP], shared.ROLE[role])
    top.plotly_chart(bars, config=shared.CHART, key="bars", alt=sentence)


def show_maps(looked: Look) -> None:
    """One layer and head, the rollout and the photo side by side, then all layers; nothing here runs the model."""
    from dogpoc.explanation import overlay, rollout, token_map

    layers, heads = looked.attention.maps.shape[:2]
    columns = st.columns(3)
    layer = columns[0].slider(_("Layer"), 1, layers, layers, key=f"attention-layer-{layers}") - 1
    head = columns[1].selectbox(
        _("Head"), [None, *range(heads)], format_func=_head_label, key=f"attention-head-{heads}"
    )
    opacity = columns[2].slider(_("Opacity of the map"), 0, 100, 55, format="%d %%", key="attention-opacity") / 100

    values = token_map(looked.attention, layer, head)
    said = (
        _("Layer {layer}, mean of all heads: {share} of the attention is on the patches")
        if head is None
        else _("Layer {layer}, head {head}: {share} of the attention is on the patches")
    ).format(layer=layer + 1, head=_head_label(head), share=percent(float(values.sum()), 0))
    pictures = (
        (overlay(looked.pixels, values, opacity), said),
        (overlay(looked.pixels, rollout(looked.attention), opacity), _("Rollout: all layers together")),
        (looked.pixels, _("The part of the photo that the model sees")),
    )
    for column, (picture, caption) in zip(st.columns(3), pictures, strict=True):
        column.image(answering.jpeg(picture), caption=caption, alt=caption, width="stretch")
    drawn = (
        _("Drawn is the attention of the class token, from which the answer is read.")
        if looked.attention.class_token
        else _("This model has no class token: drawn is the mean over all patches, from which the answer is read.")
    )
    warning = _("**Attention shows where the model looks, not why it decides.** Dark: least, bright: most.")
    st.caption(f"{warning} {drawn}")
    with st.expander(_("All layers (mean of all heads)"), expanded=True):
        small = looked.pixels[:: answering.SHOWN // SMALL, :: answering.SHOWN // SMALL]
        with st.container(horizontal=True, gap="small"):
            for i in range(layers):
                caption = _("Layer {layer}").format(layer=i + 1)
                values = token_map(looked.attention, i)
                st.image(answering.jpeg(overlay(small, values, opacity)), caption=caption, width=SMALL, alt=caption)


def _head_label(head: int | None) -> str:
    return _("mean of all") if head is None else number(head + 1)


def offer_other(role: str, reason: str) -> None:
    """One line why this run has no map, and a button for the other run."""
    other = "baseline" if role == "new" else "new"
    st.info(f"{shared.run(role)}: {reason}", icon=":material/visibility_off:")
    st.button(
        _("Show {run}").format(run=shared.run(other)),
        on_click=lambda: st.session_state.update({"attention-role": other}),
        type="primary",
    )


st.title(_("Where does it look?"))
roles = {role: f"{shared.role_name(role)} · {shared.run(role)}" for role in ("new", "baseline")}
role = st.segmented_control(
    _("Run"), list(roles), format_func=roles.get, default="new", required=True, key="attention-role"
)
try:
    run, line = answering.able_run(shared.dataset(), shared.run(role))
    if line:
        st.info(line)
    chosen = choose_photo(shared.run(role))
    if run and chosen:
        (photo, true_breed), data = chosen
        asked = (photo, shared.dataset(), run)
        if st.session_state.get("attention-look", (None,))[0] != asked:
            with st.spinner(_("Looking …")):
                st.session_state["attention-look"] = (asked, look(run, data))
        looked = st.session_state["attention-look"][1]
        if isinstance(looked, str):
            offer_other(role, looked)
        else:
            show_answer(run, role, looked, true_breed)
            show_maps(looked)
except DogpocError as error:
    st.session_state.pop("attention-look", None)
    st.error(str(error))
