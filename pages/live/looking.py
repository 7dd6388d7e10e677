"""Where a vision transformer looks: one layer and head, the rollout, the patches, and all layers and heads."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from dogpoc import figures
from dogpoc.translation import _, ngettext, number, percent
from pages import shared
from pages.live import answering
from pages.live.seeing import Seen, answer_sentence, kept, look, see

if TYPE_CHECKING:
    from dogpoc.explanation import Attention

SMALL = 64  # pixels, both sides, of one of many maps
TOP = 3  # breeds shown
MEAN = -1  # in place of a head


def show(asked: tuple, role: str, run: str, data: bytes, true_breed: str | None) -> None:
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


def show_answer(seen: Seen, role: str, true_breed: str | None) -> None:
    """The run's answer in words and as bars."""
    sentence = answer_sentence(seen, true_breed)
    said, top = st.columns(2, vertical_alignment="center")
    said.markdown(f"#### {shared.MARK[role]} {sentence}")
    first = seen.order[:TOP]
    bars = figures.probability_bars([seen.breeds[i] for i in first], seen.probs[first], shared.ROLE[role])
    top.plotly_chart(bars, config=shared.CHART, key="bars", alt=sentence)


def offer_other(role: str, reason: str) -> None:
    """One line why this run has no map, and a button for the other run."""
    other = "baseline" if role == "new" else "new"
    st.info(f"{shared.run(role)}: {reason}", icon=":material/visibility_off:")
    st.button(
        _("Show {run}").format(run=shared.run(other)),
        on_click=lambda: st.session_state.update({"attention-role": other}),
        type="primary",
    )
