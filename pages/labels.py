"""Suspect labels: photos on which both runs confidently contradict the label, and what a reviewer says of them."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, comparison, labels, metrics
from dogpoc.labels import ReviewError
from dogpoc.translation import _, breed_label, ngettext, number, percent
from pages import shared
from pages.shared import embedded, imagined, reviewing

shared.through_app()

PHOTOS = 12  # on a page
TYPICAL = 98  # pixels
MOST_NAMED = 5  # unknown photos listed

dataset = shared.dataset()
runs = {role: shared.all_answers(dataset, shared.run(role)) for role in shared.ROLE}
comparison.check_comparable(runs["baseline"].evaluation, runs["new"].evaluation)
stored = runs["new"].evaluation
breeds, true, photos = stored.breeds, stored.true, stored.photos
verdicts = reviewing.verdicts(dataset)
VERDICTS = {"right": _("right"), "wrong": _("wrong"), "unsure": _("unsure")}


def rows_to_review() -> tuple[np.ndarray, np.ndarray, int]:
    """Test photos to judge and the breed that the runs see in each: the suspects, then other reviewed photos, in which
    the new method sees it; and the number of suspects."""
    rows, seen = labels.suspects([given.prob(slice(None)) for given in runs.values()], true)
    reviewed = np.flatnonzero(photos["id"].isin(list(verdicts)))
    others = np.setdiff1d(reviewed, rows)
    return np.append(rows, others), np.append(seen, runs["new"].predicted[others]), len(rows)


def judge(photo: str, key: str) -> None:
    """Keep a verdict, or forget it."""
    verdict = st.session_state[key]
    if verdict:
        verdicts[photo] = verdict
    else:
        verdicts.pop(photo, None)


def show_breed(title: str, breed: str) -> None:
    """A breed's name under a title, with a typical photo of it."""
    with st.container(width=TYPICAL + 40, gap="xxsmall"):
        st.caption(title)
        st.markdown(f"**{breed_label(breed)}**")
        typical = embedded.typical_photos(dataset, shared.new(), breed)
        picture = shared.photo_bytes(table, typical[0], TYPICAL) if typical and here else None
        if picture:
            st.image(picture, width=TYPICAL, alt=_("A typical {breed}").format(breed=breed_label(breed)))
        elif not here:
            imagined.show({"": artifacts.read_run(dataset, shared.new())}, [breed])


def show_photo(row: int, seen: int, suspect: bool) -> None:
    """A photo, what it is labelled, what the runs see, and the reviewer's verdict."""
    photo = photos["id"].iloc[row]
    with st.container(horizontal=True, gap="small", border=True):
        with st.container(width=shared.THUMBNAIL, gap="xxsmall"):
            picture = shared.photo_bytes(photos, row) if here else None
            if picture:
                st.image(picture, width=shared.THUMBNAIL, alt=_("Photo {id}").format(id=photo))
            else:
                st.code(photo, language=None, wrap_lines=True)
            shared.why_link(photo)
        show_breed(_("labelled"), breeds[true[row]])
        show_breed(_("both runs see") if suspect else _("new method sees"), breeds[seen])
        with st.container(width=280, gap="xsmall"):
            for role, given in runs.items():
                shares = ", ".join(
                    f"{breed_label(breeds[j])} {percent(float(given.prob(row, j)))}" for j in (seen, true[row])
                )
                st.caption(f"{shared.MARK[role]} {shares}")
            key = f"verdict-{dataset}-{photo}"
            st.session_state[key] = verdicts.get(photo)
            st.segmented_control(
                _("The label is"), list(VERDICTS), format_func=VERDICTS.get, key=key, on_change=judge, args=(photo, key)
            )


def accuracy_table() -> pd.DataFrame:
    """Top-1 accuracy of both runs with all photos, and without those whose label was judged wrong."""
    kept = ~photos["id"].isin(reviewing.wrong(dataset)).to_numpy()
    headings = {
        _("all {n} photos").format(n=number(len(kept))): np.ones_like(kept),
        _("{n} photos without a wrong label").format(n=number(kept.sum())): kept,
    }
    rows = []
    for role, given in runs.items():
        row = {_("run"): f"{shared.role_name(role)} · {given.evaluation.run}"}
        for heading, chosen in headings.items():
            right, n = int((given.predicted == true)[chosen].sum()), int(chosen.sum())
            low, high = metrics.wilson_interval(right, n)
            row[heading] = f"{percent(right / n)} [{percent(low)} – {percent(high)}]" if n else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def reviewed_list() -> bytes:
    """The photos to review with their verdicts so far, as CSV."""
    return labels.write_reviews(
        [
            {
                "photo": photos["id"].iloc[row],
                "label": breeds[true[row]],
                "suggested": breeds[breed],
                "verdict": verdicts.get(photos["id"].iloc[row], ""),
            }
            for row, breed in zip(rows, seen, strict=True)
        ]
    )


def take_list() -> None:
    """Take over the verdicts of an uploaded list; what came of it is said below the upload."""
    file = st.session_state["reviewed-list"]
    st.session_state["list-taken"] = None
    if file is not None:
        try:
            found, unknown = labels.read_reviews(file.getvalue(), photos["id"])
        except ReviewError as error:
            st.session_state["list-taken"] = (None, [str(error)])
        else:
            verdicts.update(found)
            st.session_state["list-taken"] = (len(found), unknown)


def tell_taken(n: int | None, lines: list[str]) -> None:
    """What came of an upload; text from the file is shown as it is, never as Markdown."""
    if n is None:
        st.error(_("The list was not read."))
        st.code(lines[0], language=None, wrap_lines=True)
        return
    st.success(ngettext("{n} verdict was read.", "{n} verdicts were read.", n).format(n=number(n)))
    if lines:
        message = ngettext(
            "{n} photo of the list is no test photo of {dataset} and was left aside:",
            "{n} photos of the list are no test photos of {dataset} and were left aside:",
            len(lines),
        )
        st.warning(message.format(n=number(len(lines)), dataset=dataset))
        named = [photo[:100] for photo in lines[:MOST_NAMED]] + (["…"] if len(lines) > MOST_NAMED else [])
        st.code("\n".join(named), language=None, wrap_lines=True)


st.title(_("Suspect labels"))
rows, seen, n_suspects = rows_to_review()
table = artifacts.read_photos(dataset)
suspects = ngettext("**{n} photo**", "**{n} photos**", n_suspects).format(n=number(n_suspects))
st.markdown(
    _(
        "A label can be wrong as well as a model. Here are {suspects} of {all} test photos that confidently show both "
        "runs the same other breed than the label says, the least believed label first. Only a person can tell who is "
        "right."
    ).format(suspects=suspects, all=number(len(true)))
)
st.caption(
    _(
        "Confidently: with at least the mean probability that the run gives to this breed on photos labelled so "
        "(confident learning; Northcutt, Jiang and Chuang, 2021)."
    )
)
for given in runs.values():
    shared.guess_note(given)
if len(rows):
    here = shared.photos_found(photos)
    embedded.warn_of_missing(dataset, [shared.new()], _("typical photos"))
    pages = -(-len(rows) // PHOTOS)
    page = st.pagination(pages, key="list", bind="query-params") if pages > 1 else 1
    shown = slice((page - 1) * PHOTOS, page * PHOTOS)
    for place in range(len(rows))[shown]:
        show_photo(int(rows[place]), int(seen[place]), place < n_suspects)
else:
    st.info(_("The two runs never agree confidently against a label."))

st.header(_("What the verdicts change"))
wrong = reviewing.wrong(dataset)
if wrong:
    st.dataframe(accuracy_table(), hide_index=True, key="accuracy")
    st.toggle(
        _("Leave photos with a wrong label out everywhere"),
        value=bool(reviewing.left_out(dataset)),
        key="leave-out",
        on_change=lambda: reviewing.leave_out(st.session_state["leave-out"]),
    )
    st.caption(
        _(
            "Both runs get the suspects wrong, so leaving some out can only raise both accuracies; what differs "
            "between the runs stays. A fair correction would have every photo reviewed."
        )
    )
else:
    st.markdown(_("No label is judged wrong so far. Photos whose label is will be left out on every page."))

st.header(_("Keep the list"))
st.markdown(_("The verdicts are forgotten when this page is closed. Export them, and import them another time."))
left, right = st.columns(2, gap="large")
with left:
    file_name = f"{dataset}-reviewed-labels.csv"
    icon = ":material/download:"
    st.download_button(_("Export as CSV"), reviewed_list, file_name, "text/csv", icon=icon, on_click="ignore")
    if verdicts:
        st.button(_("Forget all verdicts"), on_click=reviewing.clear, args=(dataset,), icon=":material/delete:")
with right:
    uploaded = st.file_uploader(
        _("Import a reviewed list (CSV, columns photo and verdict)"),
        type="csv",
        key="reviewed-list",
        max_upload_size=1,
        on_change=take_list,
    )
    if uploaded is not None and st.session_state.get("list-taken"):
        tell_taken(*st.session_state["list-taken"])
