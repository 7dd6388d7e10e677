"""Worst breeds: where the runs fail, what these breeds are taken for, and the mistakes themselves."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import figures, metrics
from dogpoc.translation import _, breed_label, ngettext, number, percent
from pages import shared

shared.through_app()

FIRST = 12  # breeds shown at first
PHOTOS = 12  # mistakes shown at first
CONFUSERS = 2

runs = {role: shared.answers(shared.dataset(), shared.run(role)) for role in shared.ROLE}
shared.compared(shared.dataset(), shared.baseline(), shared.new())  # refuses runs on different photos
stored = runs["new"].evaluation
breeds, true = stored.breeds, stored.true
support = np.bincount(true, minlength=len(breeds))

MEASURES = {
    "probability": _("Mean probability of the true breed"),
    "recall": _("Recall, lower end of its interval"),
    "f1": _("F1"),
}


def scores(given: shared.Answers, measure: str) -> np.ndarray:
    """(C,) shares by which breeds are ranked; nan without photos."""
    if measure == "probability":
        return given.mean_probs.diagonal()
    if measure == "recall":
        return metrics.wilson_interval(given.counts.diagonal(), support)[0]
    return metrics.f1(given.counts)


def confusers(given: shared.Answers, breed: int) -> list[tuple[int, float]]:
    """The breeds that photos of `breed` give the most probability to, and how much."""
    others = given.mean_probs[breed].copy()
    others[breed] = -1
    return [(int(j), float(others[j])) for j in np.argsort(-others, kind="stable")[:CONFUSERS]]


def ranking_table(order: np.ndarray) -> pd.DataFrame:
    """One row a breed, worst first: both runs' scores and confusers."""
    rows = []
    for breed in order:
        row = {_("breed"): breed_label(breeds[breed]), _("photos"): support[breed]}
        for role, given in runs.items():
            row[f"{shared.role_name(role)}, %"] = round(float(scores(given, measure)[breed]) * 100, 1)
            row[_("{role}: taken for").format(role=shared.role_name(role))] = ", ".join(
                f"{breed_label(breeds[j])} {percent(share)}" for j, share in confusers(given, breed)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def ranking_takeaway(order: np.ndarray) -> str:
    """The worst breed of the run that ranks, and how many breeds the other run does better on."""
    worst, other = int(order[0]), next(name for name in shared.ROLE if name != role)
    ahead = int(np.nansum(scores(runs[other], measure)[order] > scores(runs[role], measure)[order]))
    j, share = confusers(runs[role], worst)[0]
    return _(
        "{role}: weakest on {breed} ({score}), whose photos give {share} to {confuser}. "
        "{other}: better on {ahead} of these {n} breeds."
    ).format(
        role=shared.role_name(role),
        breed=breed_label(breeds[worst]),
        score=percent(scores(runs[role], measure)[worst]),
        share=percent(share),
        confuser=breed_label(breeds[j]),
        n=len(order),
        other=shared.role_name(other),
        ahead=ahead,
    )


def show_run(role: str, given: shared.Answers, breed: int) -> None:
    """What a run makes of one breed: how sure, how often right, and to whom the rest of the probability goes."""
    st.markdown(f"**{shared.MARK[role]} {shared.role_name(role)} · {given.evaluation.run}**")
    st.markdown(
        _("{right} of {n} photos named correctly: {recall} ({interval})").format(
            right=given.counts[breed, breed],
            n=support[breed],
            recall=percent(given.counts[breed, breed] / support[breed]),
            interval=shared.interval(*metrics.wilson_interval(given.counts[breed, breed], support[breed])),
        )
    )
    pairs = [(breed, float(given.mean_probs[breed, breed])), *confusers(given, breed)]
    names, shares = [breeds[j] for j, _share in pairs], [share for _j, share in pairs]
    takeaway = _("Mean probabilities over its photos: {shares}.").format(
        shares=", ".join(f"{breed_label(name)} {percent(share)}" for name, share in zip(names, shares, strict=True))
    )
    drawn = figures.probability_bars(names, shares, shared.ROLE[role])
    table = pd.DataFrame({"breed": names, "mean_probability": shares})
    shared.figure(drawn, takeaway, table, f"confusers-{role}")


def worst_mistakes(breed: int) -> np.ndarray:
    """Photos of `breed` that a run names wrongly, the least probable true breed first."""
    of_breed = np.flatnonzero(true == breed)
    wrong = np.any([given.predicted[of_breed] != breed for given in runs.values()], axis=0)
    belief = np.min([given.probs[of_breed, breed] for given in runs.values()], axis=0)
    return of_breed[wrong][np.argsort(belief[wrong], kind="stable")]


st.title(_("Worst breeds"))
st.markdown(_("Where the runs fail, what these breeds are taken for, and the photos that it happens on."))
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    measure = st.selectbox(_("Rank by"), list(MEASURES), format_func=MEASURES.get, key="measure", width=320)
    role = st.segmented_control(
        _("Run"), list(shared.ROLE), default="new", required=True, format_func=shared.role_name, key="ranked"
    )
    everything = len(breeds) <= FIRST or st.toggle(_("All {n} breeds").format(n=len(breeds)), key="every-breed")

ranked = np.argsort(scores(runs[role], measure), kind="stable")
ranked = ranked[support[ranked] > 0]
order = ranked if everything else ranked[:FIRST]
drawn = figures.breed_dumbbells(
    [breeds[i] for i in order],
    *(scores(given, measure)[order] for given in runs.values()),
    title=MEASURES[measure],
    notes=[ngettext("{n} photo", "{n} photos", int(support[i])).format(n=number(support[i])) for i in order],
)
shared.figure(drawn, ranking_takeaway(order), ranking_table(order), "worst-breeds")

st.header(_("One breed"))
with_photos = [breed for breed, n in zip(breeds, support, strict=True) if n]
shared.warn_of_bad_value("breed", [breed_label(breed) for breed in with_photos])
usual = with_photos.index(breeds[ranked[0]])
chosen = st.selectbox(_("Breed"), with_photos, usual, format_func=breed_label, key="breed", bind="query-params")
breed = breeds.index(chosen)
for cell, (name, given) in zip(st.columns(2, gap="large"), runs.items(), strict=True):
    with cell:
        show_run(name, given, breed)

mistakes = worst_mistakes(breed)
st.subheader(_("Its worst mistakes"))
if len(mistakes):
    st.caption(
        _("{n} of {support} photos are named wrongly by at least one run; the least probable true breed first.").format(
            n=len(mistakes), support=support[breed]
        )
    )
    many = len(mistakes) > PHOTOS and not st.toggle(_("Show all {n}").format(n=len(mistakes)), key="all-mistakes")
    shared.photo_grid(mistakes[:PHOTOS] if many else mistakes, runs, why=True)
    shared.table_below(shared.answers_table(mistakes, runs), "mistakes")
else:
    st.markdown(_("Both runs name all {n} photos correctly.").format(n=support[breed]))
