"""/attention: where a vision transformer looks, and what in a photo speaks for a breed to each run.

What a model computes for the photo on show is kept for the session, under what it was asked: every layer, head, patch
and opacity is drawn from it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from dogpoc import DogpocError, artifacts, faithfulness, figures
from dogpoc import dataset as photo_files
from dogpoc.metrics import softmax
from dogpoc.photo import read_photo
from dogpoc.translation import _, breed_label, ngettext, number, percent
from pages import shared
from pages.shared import answering

shared.through_app()

if TYPE_CHECKING:
    from dogpoc.explanation import Attention

TOP = 3  # breeds shown
SMALL = 64  # pixels, both sides, of one of many maps
SEED = 0  # of the random maps
MEAN = -1  # in place of a head
RANDOMISED_LIMIT = 0.2  # of the rank correlation with shuffled weights


@dataclass(frozen=True)
class Seen:
    """A photo as a run sees it, and the run's answer.

    pixels: (S, S, 3) uint8, the model's own.   shown: the same, sharper.   logits: (C,).   usual: the method for it.
    """

    run: str
    pixels: np.ndarray
    shown: np.ndarray
    breeds: list[str]
    logits: np.ndarray
    usual: str

    @property
    def order(self) -> np.ndarray:
        """Breeds, most probable first."""
        return np.argsort(-self.logits, kind="stable")

    @property
    def probs(self) -> np.ndarray:
        return softmax(self.logits[None])[0]


def kept(asked: tuple, what: tuple, make: Callable):
    """What make() returns, worked out once for the photo `asked` for and kept while that is on show."""
    if st.session_state.get("attention-kept", (None,))[0] != asked:
        st.session_state["attention-kept"] = (asked, {})
    found = st.session_state["attention-kept"][1]
    if what not in found:
        with st.spinner(_("Looking …")):
            found[what] = make()
    return found[what]


def see(run: str, data: bytes) -> Seen:
    """The photo in a file's bytes as `run` sees it. Raises PhotoError, ModelError, ArtifactError."""
    image = answering.in_turn(read_photo, data)
    model = answering.classifier(shared.dataset(), run)
    return answering.in_turn(_see, run, model, image)


def _see(run: str, model, image: Image.Image) -> Seen:
    from dogpoc.explanation import usual_method
    from dogpoc.inference import preprocess

    pixels = preprocess(image, model.preprocessing)
    logits = model.forward(np.stack([pixels]))[0][0]
    return Seen(run, pixels, answering.seen(model, image), model.breeds, logits, usual_method(model.model))


def look(seen: Seen) -> "Attention | str":
    """The attention of a run's model for the photo, or one line why there is none."""
    model = answering.classifier(shared.dataset(), seen.run)
    from dogpoc.explanation import ExplanationError, attention_maps
    from dogpoc.inference import to_tensor

    try:
        found = answering.in_turn(
            lambda: attention_maps(model.model, to_tensor(np.stack([seen.pixels]), model.preprocessing))
        )
    except ExplanationError as error:
        return str(error)
    return replace(found, maps=found.maps.astype(np.float16))


def explain(seen: Seen, method: str, breed: int, against: int | None) -> np.ndarray | str:
    """A map of what speaks for the breed to a run, or one line why there is none."""
    model = answering.classifier(shared.dataset(), seen.run)
    from dogpoc.explanation import ExplanationError, explain_pixels

    try:
        return answering.in_turn(explain_pixels, model, seen.pixels, method, breed, against)
    except ExplanationError as error:
        return str(error)


def curves(seen: Seen, maps: np.ndarray) -> np.ndarray:
    """Logits of insertion and deletion for each of `maps`, (n, 2, S + 1, C); other visitors' photos go in between."""
    model = answering.classifier(shared.dataset(), seen.run)

    def forward(frames: np.ndarray) -> np.ndarray:
        return answering.in_turn(model.forward, frames)[0]

    return np.stack([faithfulness.insertion_deletion(forward, seen.pixels, values) for values in maps])


# -- which photo --------------------------------------------------------------------------------------------------


def choose_test_photo(given: shared.Answers) -> tuple[tuple, bytes] | None:
    """The test photo of the URL (photo=) or of the two select boxes: what it is known by, and its bytes."""
    photos = given.evaluation.photos
    new = shared.all_answers(shared.dataset(), shared.new())
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
    given = shared.all_answers(shared.dataset(), run)
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


# -- the answer ---------------------------------------------------------------------------------------------------


def answer_sentence(seen: Seen, true_breed: str | None) -> str:
    """What the run says, and for a test photo whether that is right."""
    breed = seen.breeds[seen.order[0]]
    sentence = _("To {run} it looks like **{breed}** ({prob}).").format(
        run=seen.run, breed=breed_label(breed), prob=percent(float(seen.probs.max()), 0)
    )
    if true_breed == breed:
        sentence += " " + _("That is right.")
    elif true_breed:
        sentence += " " + _("In truth: **{breed}**.").format(breed=breed_label(true_breed))
    return sentence


def show_answer(seen: Seen, role: str, true_breed: str | None) -> None:
    """The run's answer in words and as bars."""
    sentence = answer_sentence(seen, true_breed)
    said, top = st.columns(2, vertical_alignment="center")
    said.markdown(f"#### {shared.MARK[role]} {sentence}")
    first = seen.order[:TOP]
    bars = figures.probability_bars([seen.breeds[i] for i in first], seen.probs[first], shared.ROLE[role])
    top.plotly_chart(bars, config=shared.CHART, key="bars", alt=sentence)


# -- where it looks -----------------------------------------------------------------------------------------------


def show_attention(asked: tuple, role: str, run: str, data: bytes, true_breed: str | None) -> None:
    """One layer and head, the rollout and the photo, then all layers and heads; only the first look runs the model."""
    seen = kept(asked, ("seen", run), lambda: see(run, data))
    attention = kept(asked, ("attention", run), lambda: look(seen))
    if isinstance(attention, str):
        offer_other(role, attention)
        return
    show_answer(seen, role, true_breed)
    from dogpoc.explanation import outliers, overlay, rollout, token_map

    layers, heads = attention.maps.shape[:2]
    keys = {"layer": f"attention-layer-{layers}", "head": f"attention-head-{heads}"}
    columns = st.columns(3)
    layer = columns[0].slider(_("Layer"), 1, layers, layers, key=keys["layer"]) - 1
    head = columns[1].select_slider(_("Head"), [MEAN, *range(heads)], format_func=_head_label, key=keys["head"])
    opacity = columns[2].slider(_("Opacity of the map"), 0, 100, 55, format="%d %%", key="attention-opacity") / 100
    patch = choose_patch(attention)

    values = token_map(attention, layer, None if head == MEAN else head, patch)
    away = outliers(attention)
    left, middle, right = st.columns(3)
    with left:
        show_patches(seen, attention, values, away, patch, opacity)
        st.caption(_attention_words(layer, head, patch, float(values.sum())))
    with middle:
        caption = _("Rollout: all layers together")
        picture = answering.jpeg(overlay(seen.shown, rollout(attention), opacity))
        st.image(picture, caption=caption, alt=caption, width="stretch")
    with right:
        caption = _("The part of the photo that the model sees, in {rows} x {columns} patches").format(
            rows=attention.grid[0], columns=attention.grid[1]
        )
        st.image(answering.jpeg(_with_patches(seen.shown, attention.grid)), caption=caption, alt=caption)
    st.caption(f"{_what_is_drawn(attention)} {_outlier_words(away)}")
    show_all_heads(seen, attention, patch, opacity, keys)


def choose_patch(attention: "Attention") -> tuple[int, int] | None:
    """The patch whose attention is drawn, by a click on it or in the box; None for the answer's own token."""
    rows, columns = attention.grid
    names = {MEAN: _("the answer")}
    names |= {
        i: _("row {row}, column {column}").format(row=i // columns + 1, column=i % columns + 1)
        for i in range(rows * columns)
    }
    key = f"attention-patch-{rows}-{columns}"
    chosen = st.selectbox(_("Attention of"), list(names), format_func=names.get, key=key)
    return None if chosen == MEAN else divmod(chosen, columns)


def show_patches(
    seen: Seen, attention: "Attention", values: np.ndarray, away: np.ndarray, patch: tuple | None, opacity: float
) -> None:
    """The map over the photo, patch by patch: each tells its share, and a click shows what it attends to."""
    from dogpoc.explanation import overlay

    columns = attention.grid[1]
    key, box = "attention-patches", f"attention-patch-{attention.grid[0]}-{columns}"

    def choose() -> None:
        points = st.session_state[key]["selection"]["points"]
        if points:
            clicked = points[0]["point_index"]
            st.session_state[box] = MEAN if st.session_state.get(box) == clicked else clicked

    words = [
        [_patch_words(row, column, float(values[row, column]), bool(away[row, column])) for column in range(columns)]
        for row in range(len(values))
    ]
    picture = answering.jpeg(overlay(seen.shown, values, opacity, smooth=False))
    figure = figures.picture_cells(
        picture, words, height=300, chosen=patch, rings=[tuple(map(int, place)) for place in np.argwhere(away)]
    )
    alt = _("Map of the attention over the photo")
    st.plotly_chart(figure, config=shared.CHART, key=key, on_select=choose, selection_mode="points", alt=alt)


def _patch_words(row: int, column: int, share: float, outlier: bool) -> str:
    words = _("row {row}, column {column}: {share}").format(row=row + 1, column=column + 1, share=percent(share, 2))
    return f"{words}<br>{_('outlier token')}" if outlier else words


def _with_patches(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The photo with the borders of its patches."""
    drawn = pixels.copy()
    for axis, cells in enumerate(grid):
        lines = (np.arange(1, cells) * pixels.shape[axis] / cells).round().astype(int)
        part = drawn[lines] if axis == 0 else drawn[:, lines]
        drawn[(lines,) if axis == 0 else (slice(None), lines)] = part // 2 + 110
    return drawn


def _attention_words(layer: int, head: int, patch: tuple | None, share: float) -> str:
    place = _("Layer {layer}, {head}").format(layer=layer + 1, head=_head_name(head))
    if patch is None:
        said = _("{share} of the attention is on the patches").format(share=percent(share, 0))
    else:
        said = _("of the patch in row {row}, column {column}, {share} of the attention is on patches").format(
            row=patch[0] + 1, column=patch[1] + 1, share=percent(share, 0)
        )
    return f"{place}: {said}. " + _("Click a patch to see what it attends to; once more for the answer.")


def _what_is_drawn(attention: "Attention") -> str:
    drawn = (
        _("Drawn is the attention of the class token, from which the answer is read.")
        if attention.class_token
        else _("This model has no class token: drawn is the mean over all patches, from which the answer is read.")
    )
    warning = _("**Attention shows where the model looks, not why it decides.** Dark: least, bright: most.")
    return f"{warning} {drawn}"


def _outlier_words(away: np.ndarray) -> str:
    n = int(away.sum())
    if not n:
        return _("No outlier tokens: no patch's token is over twice as long as the median one.")
    return ngettext(
        "{n} outlier token (blue ring): over twice as long as the median, it holds notes about the whole photo.",
        "{n} outlier tokens (blue rings): over twice as long as the median, they hold notes about the whole photo.",
        n,
    ).format(n=n)


def show_all_heads(seen: Seen, attention: "Attention", patch: tuple | None, opacity: float, keys: dict) -> None:
    """A small map of each layer and head; a click brings it up."""
    from dogpoc.explanation import overlay, token_map

    layers, heads = attention.maps.shape[:2]
    small = np.asarray(Image.fromarray(seen.shown).resize((SMALL, SMALL)))
    kinds, rows = [MEAN, *range(heads)], []
    for head in kinds:
        maps = [token_map(attention, layer, None if head == MEAN else head, patch) for layer in range(layers)]
        rows.append(np.concatenate([overlay(small, values, opacity) for values in maps], axis=1))

    def choose() -> None:
        points = st.session_state["attention-all"]["selection"]["points"]
        if points:
            row, layer = divmod(points[0]["point_index"], layers)
            st.session_state[keys["layer"]], st.session_state[keys["head"]] = layer + 1, kinds[row]

    words = [
        [_("Layer {layer}, {head}").format(layer=layer + 1, head=_head_name(head)) for layer in range(layers)]
        for head in kinds
    ]
    figure = figures.picture_cells(
        answering.jpeg(np.concatenate(rows), SMALL * max(layers, heads + 1)),
        words,
        height=24 + 72 * len(kinds),
        rows=[_head_label(head) for head in kinds],
        columns=[number(layer + 1) for layer in range(layers)],
    )
    with st.expander(_("All layers (columns) and heads (rows)"), expanded=True):
        alt = _("A small attention map for each layer and head")
        st.plotly_chart(
            figure, config=shared.CHART, key="attention-all", on_select=choose, selection_mode="points", alt=alt
        )


def _head_label(head: int) -> str:
    return _("mean of all") if head == MEAN else number(head + 1)


def _head_name(head: int) -> str:
    return _("mean of all heads") if head == MEAN else _("head {head}").format(head=head + 1)


def offer_other(role: str, reason: str) -> None:
    """One line why this run has no map, and a button for the other run."""
    other = "baseline" if role == "new" else "new"
    st.info(f"{shared.run(role)}: {reason}", icon=":material/visibility_off:")
    st.button(
        _("Show {run}").format(run=shared.run(other)),
        on_click=lambda: st.session_state.update({"attention-role": other}),
        type="primary",
    )


# -- why this breed -----------------------------------------------------------------------------------------------


def method_name(method: str) -> str:
    """A method as a reader sees it."""
    return {
        "attention": _("attention of the last layer"),
        "rollout": _("attention rollout"),
        "relevance": _("relevance"),
        "gradcam": _("Grad-CAM"),
        "integrated-gradients": _("integrated gradients"),
        "occlusion": _("occlusion"),
        "random": _("random map"),
        "centre": _("centred blob"),
    }[method]


def choose_explanation(breeds: list[str]) -> tuple[str, str, str]:
    """Method ("" for each network's own), breed ("" for each run's own answer) and the one against it ("" for none)."""
    columns = st.columns(3)
    usual = _("relevance or Grad-CAM, as the network allows")
    names = {"": usual} | {
        method: method_name(method) for method in ("integrated-gradients", "occlusion", "rollout", "attention")
    }
    labels = {breed: breed_label(breed) for breed in sorted(breeds, key=str.casefold)}
    method = shared.choice(columns[0].selectbox, "method", _("Method"), names, "")
    breed = shared.choice(columns[1].selectbox, "breed", _("Why"), {"": _("each run's own answer")} | labels, "")
    against = shared.choice(columns[2].selectbox, "against", _("and not"), {"": _("any other breed")} | labels, "")
    return method, breed, against


def show_reasons(asked: tuple, able: dict[str, str], data: bytes, true_breed: str | None) -> None:
    """Both runs' maps of what speaks for a breed, side by side, each with its licence."""
    seen = {role: kept(asked, ("seen", run), lambda run=run: see(run, data)) for role, run in able.items()}
    method, breed, against = choose_explanation(sorted({name for each in seen.values() for name in each.breeds}))
    for column, (role, each) in zip(st.columns(2, gap="large"), seen.items(), strict=False):
        with column:
            show_reason(asked, role, each, method, breed, against, true_breed)


def show_reason(
    asked: tuple, role: str, seen: Seen, method: str, breed: str, against: str, true_breed: str | None
) -> None:
    """One run's map, or one line why it has none."""
    st.markdown(f"#### {shared.MARK[role]} {answer_sentence(seen, true_breed)}")
    unknown = [name for name in (breed, against) if name and name not in seen.breeds]
    chosen = breed or seen.breeds[seen.order[0]]
    if unknown:
        st.info(_("{run} does not know {breed}.").format(run=seen.run, breed=breed_label(unknown[0])))
        return
    if against == chosen:
        st.info(_("{breed} is its own answer: choose another breed on one side.").format(breed=breed_label(chosen)))
        return
    method = method or seen.usual
    index, rival = (name and seen.breeds.index(name) for name in (chosen, against or None))
    values = kept(asked, ("map", seen.run, method, index, rival), lambda: explain(seen, method, index, rival))
    if isinstance(values, str):
        st.info(f"{seen.run}: {values}", icon=":material/visibility_off:")
        return
    licence = licence_of(asked, seen, values, method, index, rival)
    from dogpoc.explanation import SAME_FOR_ALL_BREEDS, overlay

    if method in SAME_FOR_ALL_BREEDS:
        words = _("The same for every breed: {method} explains no breed.").format(method=method_name(method))
    else:
        words = f"**{_why(chosen, against)}** ({method_name(method)})"
    st.markdown(words)
    picture = overlay(seen.shown, values, faded=not licence.beats_random)
    st.image(answering.jpeg(picture), alt=words, width="stretch")
    show_licence(licence, role, seen.run, method, chosen, against)
    offer_downloads(picture, values, f"{seen.run}-{method}-{chosen}{'-' + against if against else ''}", role)


def _why(breed: str, against: str) -> str:
    if against:
        return _("Why {breed} and not {other}?").format(breed=breed_label(breed), other=breed_label(against))
    return _("Why {breed}?").format(breed=breed_label(breed))


def licence_of(
    asked: tuple, seen: Seen, values: np.ndarray, method: str, breed: int, against: int | None
) -> faithfulness.Licence:
    """How faithful the map is. The reference maps run once for a photo and run, whatever is explained."""
    what = ("references", seen.run, values.shape)
    random = faithfulness.random_maps(values.shape, faithfulness.RANDOM_MAPS, SEED)
    references = [*random, faithfulness.centre_blob(values.shape)]
    others = kept(asked, what, lambda: curves(seen, references))
    own = kept(asked, ("curves", seen.run, method, breed, against), lambda: curves(seen, [values])[0])
    return faithfulness.licence(own, others[:-1], others[-1], breed, against)


def show_licence(licence: faithfulness.Licence, role: str, run: str, method: str, breed: str, against: str) -> None:
    """Whether the map may be believed, in words and as curves."""
    insertion, deletion = faithfulness.area(licence.insertion), faithfulness.area(licence.deletion)
    numbers = _(
        "Area under the curve: shown {insertion} (random {random_insertion}, blob {blob_insertion}), "
        "hidden {deletion} (random {random_deletion}, blob {blob_deletion})."
    ).format(
        insertion=percent(float(insertion), 0),
        deletion=percent(float(deletion), 0),
        random_insertion=percent(float(faithfulness.area(licence.random[0])), 0),
        random_deletion=percent(float(faithfulness.area(licence.random[1])), 0),
        blob_insertion=percent(float(faithfulness.area(licence.blob[0])), 0),
        blob_deletion=percent(float(faithfulness.area(licence.blob[1])), 0),
    )
    if not licence.beats_random:
        st.warning(_("On this photo the map is no better than a random one: it is drawn in grey, and says nothing."))
    elif licence.gain <= licence.blob_gain:
        st.info(_("The map beats random ones, but not a blob in the middle of the photo."))
    else:
        st.success(_("The map beats random ones, and a blob in the middle of the photo."))
    own = np.stack([licence.insertion, licence.deletion])
    title = _("probability of {breed}").format(breed=breed_label(breed))
    colour = shared.ROLE[role] if licence.beats_random else figures.GREY
    drawn = figures.faithfulness_curves(
        own, licence.random, licence.blob, colour=colour, name=method_name(method), title=title
    )
    steps = np.linspace(0, 1, own.shape[1])
    table = pd.DataFrame(
        {
            _("share of the photo"): steps.round(4),
            **{
                f"{kind}, {way}": curve[place].round(4)
                for kind, curve in (
                    (method_name(method), own),
                    (_("random maps"), licence.random),
                    (_("centred blob"), licence.blob),
                )
                for place, way in enumerate((_("shown"), _("hidden")))
            },
        }
    )
    shared.figure(drawn, numbers, table, f"faithfulness-{role}")


def offer_downloads(picture: np.ndarray, values: np.ndarray, name: str, role: str) -> None:
    """The overlay as PNG, and the map in its own grid as a NumPy file."""

    def png() -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        return file.getvalue()

    def npy() -> bytes:
        file = io.BytesIO()
        np.save(file, values, allow_pickle=False)
        return file.getvalue()

    with st.container(horizontal=True):
        for label, make, suffix, mime in (
            (_("Overlay (PNG)"), png, "png", "image/png"),
            (_("Map (NumPy)"), npy, "npy", "application/octet-stream"),
        ):
            st.download_button(
                label,
                make,
                file_name=f"{name}.{suffix}",
                mime=mime,
                icon=":material/download:",
                key=f"{suffix}-{role}",
                on_click="ignore",
            )


# -- what it expects ----------------------------------------------------------------------------------------------


def show_expectations() -> None:
    """Both runs' own pictures of a breed, side by side."""
    st.write(
        _(
            "These are not photographs: each picture was made by the model itself, "
            "changed little by little until it saw the breed."
        )
    )
    drawn = {}
    for role in shared.ROLE:
        info = artifacts.read_run(shared.dataset(), shared.run(role))
        if info["run"] not in [each["run"] for each, _pictures in drawn.values()]:
            drawn[role] = (info, artifacts.read_pictures(info))
    breeds = sorted({breed for info, _pictures in drawn.values() for breed in info["scored_breeds"]}, key=str.casefold)
    labels = {breed: breed_label(breed) for breed in breeds}
    breed = shared.choice(st.selectbox, "breed", _("Breed"), labels, breeds[0])
    for column, (role, (info, pictures)) in zip(st.columns(2, gap="large"), drawn.items(), strict=False):
        with column:
            show_expectation(role, info, pictures, breed)


def show_expectation(role: str, info: dict, pictures: np.ndarray | None, breed: str) -> None:
    """One run's picture of a breed, or one line why there is none."""
    st.markdown(f"#### {shared.MARK[role]} {info['run']}")
    if pictures is None:
        st.info(_("No pictures of this run yet. Run: `{command}`").format(command=artifacts.imagine_command(info)))
        return
    if breed not in info["breeds"]:
        st.info(_("{run} does not know {breed}.").format(run=info["run"], breed=breed_label(breed)))
        return
    picture = Image.fromarray(pictures[info["breeds"].index(breed)])
    said = _("{run}'s idea of a dog of the breed {breed}; made by the model, not a photograph").format(
        run=info["run"], breed=breed_label(breed)
    )
    file = io.BytesIO()
    picture.resize((answering.SHOWN, answering.SHOWN), Image.Resampling.BICUBIC).save(file, "PNG")
    st.image(file.getvalue(), caption=said, alt=said, width="stretch")
    st.download_button(
        _("Picture (PNG), to try on the upload page"),
        file.getvalue(),
        file_name=f"{info['run']}-{breed}.png",
        mime="image/png",
        icon=":material/download:",
        key=f"picture-{role}",
        on_click="ignore",
    )


# -- the benchmark ------------------------------------------------------------------------------------------------


def show_benchmark() -> None:
    """What the stored benchmark says of each run's explanations, in words and as a table."""
    st.subheader(_("Can such maps be believed?"))
    for run in dict.fromkeys(shared.run(role) for role in shared.ROLE):
        info = artifacts.read_run(shared.dataset(), run)
        record = artifacts.read_explanations(info)
        if record is None:
            command = f"python -m dogpoc explain-benchmark --runs {run} --data {shared.dataset()}"
            st.caption(_("Not measured for {run} yet. Run: `{command}`").format(run=run, command=command))
            continue
        rows = faithfulness.summarise(record)
        st.markdown(f"**{run}** · " + benchmark_words(rows, len(record["photos"])))
        st.dataframe(benchmark_table(rows), hide_index=True, key=f"benchmark-{run}")
    st.caption(
        _(
            "Pixels appear out of a blurred photo (shown) or vanish into it (hidden) in the map's order; measured is "
            "the area under the probability of the run's answer. Gain: shown minus hidden, more is better. Right tile: "
            "share of a breed's evidence in its own photo of a mosaic of four; chance is 25 %. Weights shuffled: rank "
            "correlation with the map of the network with shuffled weights, which should be near 0. "
            "Brackets: 95 % intervals, paired photo by photo."
        )
    )


def benchmark_words(rows: list[dict], photos: int) -> str:
    """For each method, whether it is surely better than random maps, a centred blob and raw attention."""
    parts = [ngettext("On {n} test photo:", "On {n} test photos:", photos).format(n=number(photos))]
    names = {"random": _("random maps"), "centre": _("a centred blob"), "attention": _("raw attention")}
    for row in rows:
        verdicts = {ref: faithfulness.beats(row, ref) for ref in names}
        if row["method"] in ("random", "centre") or all(verdict is None for verdict in verdicts.values()):
            continue
        better = ", ".join(names[ref] for ref, verdict in verdicts.items() if verdict)
        not_better = ", ".join(names[ref] for ref, verdict in verdicts.items() if verdict is False)
        sentence = _("{method} beats {better}") if better else _("{method} beats nothing")
        if not_better:
            sentence = (
                _("{method} beats {better}, but not {not_better}")
                if better
                else _("{method} does not beat {not_better}")
            )
        parts.append(sentence.format(method=method_name(row["method"]), better=better, not_better=not_better) + ".")
        if row["randomised"] is not None and row["randomised"][0] >= RANDOMISED_LIMIT:
            parts.append(
                _(
                    "Its maps hardly change when the weights are shuffled ({r}): they show the photo, not the model."
                ).format(r=number(row["randomised"][0], 2))
            )
    return " ".join(parts)


def benchmark_table(rows: list[dict]) -> pd.DataFrame:
    """The benchmark's numbers with their intervals, as text; columns that nothing was measured for are left out."""
    columns = {
        "insertion": _("shown"),
        "deletion": _("hidden"),
        "gain_random": _("gain on random"),
        "gain_centre": _("gain on the blob"),
        "gain_attention": _("gain on attention"),
        "energy": _("evidence in the dog's box (1 = chance)"),
        "tile": _("right tile"),
        "hit": _("most in the right tile"),
        "randomised": _("weights shuffled"),
    }
    table = {_("method"): [method_name(row["method"]) for row in rows]}
    for key, title in columns.items():
        if any(row[key] is not None for row in rows):
            table[title] = ["" if row[key] is None else _with_interval(*row[key]) for row in rows]
    return pd.DataFrame(table)


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{number(mean, 2)} [{number(low, 2)}, {number(high, 2)}]"


def show_photo(question: str, roles: list[str]) -> None:
    """The chosen photo's explanation by the runs in `roles`. Raises DogpocError."""
    able = {}
    for role in roles:
        run, line = answering.able_run(shared.dataset(), shared.run(role))
        if line:
            st.info(line)
        if run and run not in able.values():
            able[role] = run
    chosen = choose_photo(shared.run(roles[-1]))
    if not chosen:
        st.session_state.pop("attention-kept", None)
    elif able:
        (photo, true_breed), data = chosen
        asked = (photo, shared.dataset())
        if question == "look":
            show_attention(asked, roles[0], able[roles[0]], data, true_breed)
        else:
            show_reasons(asked, able, data, true_breed)


# -- the page -----------------------------------------------------------------------------------------------------

st.title(_("Where does it look, and why this breed?"))
questions = {"look": _("Where it looks (ViT)"), "why": _("Why this breed"), "expects": _("What it expects to see")}
question = shared.choice(st.segmented_control, "view", _("Question"), questions, "look", required=True)


try:
    if question == "expects":
        show_expectations()
    elif question == "look":
        names = {role: f"{shared.role_name(role)} · {shared.run(role)}" for role in ("new", "baseline")}
        role = st.segmented_control(
            _("Run"), list(names), format_func=names.get, default="new", required=True, key="attention-role"
        )
        show_photo(question, [role])
    else:
        show_photo(question, list(shared.ROLE))
        show_benchmark()
except DogpocError as error:
    st.session_state.pop("attention-kept", None)
    st.error(str(error))
