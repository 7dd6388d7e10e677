"""Worst breeds: where the runs fail, what these breeds are taken for, the mistakes, and what moved between the runs."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures, metrics
from dogpoc import dataset as photo_files
from dogpoc.comparison import p_text
from dogpoc.translation import _, breed_label, ngettext, number, percent, points
from pages import shared
from pages.shared import embedded, imagined

shared.through_app()

FIRST = 12  # breeds shown at first
PHOTOS = 12  # mistakes shown at first
TYPICAL = 98  # pixels of a typical photo; three stand side by side on a phone

dataset = shared.dataset()
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())  # refuses runs on different photos
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


def ranking_table(order: np.ndarray) -> pd.DataFrame:
    """One row a breed, worst first: both runs' scores and confusers."""
    rows = []
    for breed in order:
        row = {_("breed"): breed_label(breeds[breed]), _("photos"): support[breed]}
        for role, given in runs.items():
            row[f"{shared.role_name(role)}, %"] = round(float(scores(given, measure)[breed]) * 100, 1)
            row[_("{role}: taken for").format(role=shared.role_name(role))] = ", ".join(
                f"{breed_label(breeds[j])} {percent(share)}"
                for j, share in metrics.soft_confusers(given.mean_probs, breed)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def ranking_takeaway(order: np.ndarray) -> str:
    """The worst breed of the run that ranks, and how many breeds the other run does better on."""
    worst, other = int(order[0]), next(name for name in shared.ROLE if name != role)
    ahead = int(np.nansum(scores(runs[other], measure)[order] > scores(runs[role], measure)[order]))
    j, share = metrics.soft_confusers(runs[role].mean_probs, worst)[0]
    return _(
        "{role}: weakest on {breed} ({score}), whose photos give {share} to {confuser}. "
        "{other} scores higher on {ahead} of these {n} breeds; what is beyond chance stands at the end."
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
    pairs = [(breed, float(given.mean_probs[breed, breed])), *metrics.soft_confusers(given.mean_probs, breed)]
    names, shares = [breeds[j] for j, _share in pairs], [share for _j, share in pairs]
    takeaway = _("Mean probabilities over its photos: {shares}.").format(
        shares=", ".join(f"{breed_label(name)} {percent(share)}" for name, share in zip(names, shares, strict=True))
    )
    drawn = shared.drawn(figures.probability_bars, names, shares, shared.ROLE[role])
    table = pd.DataFrame({"breed": names, "mean_probability": shares})
    shared.figure(drawn, takeaway, table, f"confusers-{role}")
    show_typical(given.evaluation.run, pairs)


def show_typical(run: str, pairs: list[tuple[int, float]]) -> None:
    """A typical photo of the breed beside one of each confuser, as the run's own features have it."""
    found = {j: embedded.typical_photos(dataset, run, breeds[j]) for j, _share in pairs}
    table = artifacts.read_photos(dataset)
    few = table.iloc[[rows[0] for rows in found.values() if rows]]
    here = photo_files.photo_paths(few["sha256"], few["bytes"])
    pictures = [(j, shared.photo_bytes(table, rows[0], TYPICAL)) for j, rows in found.items() if rows and here]
    if not here:
        imagined.show({"": artifacts.read_run(dataset, run)}, [breeds[j] for j, _share in pairs])
    if any(picture for _j, picture in pictures):
        with st.container(horizontal=True, gap="small"):
            for j, picture in pictures:
                if picture:
                    with st.container(width=TYPICAL, gap="xxsmall"):
                        name = breed_label(breeds[j])
                        st.image(picture, width=TYPICAL, alt=_("A typical {breed}").format(breed=name))
                        st.caption(name)


def worst_mistakes(breed: int) -> np.ndarray:
    """Photos of `breed` that a run names wrongly, the least probable true breed first."""
    of_breed = np.flatnonzero(true == breed)
    wrong = np.any([given.predicted[of_breed] != breed for given in runs.values()], axis=0)
    belief = np.min([given.prob(of_breed, breed) for given in runs.values()], axis=0)
    return of_breed[wrong][np.argsort(belief[wrong], kind="stable")]


def moved_order() -> np.ndarray:
    """Breeds with photos, those whose score changed most from baseline to new first."""
    change = np.nan_to_num(scores(runs["new"], measure) - scores(runs["baseline"], measure))
    order = np.argsort(-np.abs(change), kind="stable")
    return order[support[order] > 0]


def moved_table(order: np.ndarray) -> pd.DataFrame:
    """One row a breed: both scores, and McNemar's test on its photos."""
    both = {role: scores(given, measure)[order] * 100 for role, given in runs.items()}
    tests = result.breeds.iloc[order]
    return pd.DataFrame(
        {
            _("breed"): [breed_label(breeds[i]) for i in order],
            _("photos"): support[order],
            **{f"{shared.role_name(role)}, %": shares.round(1) for role, shares in both.items()},
            _("change, pts"): (both["new"] - both["baseline"]).round(1),
            _("only baseline right"): tests["only_baseline"].to_numpy(),
            _("only new right"): tests["only_new"].to_numpy(),
            "p": tests["p"].round(4).to_numpy(),
            "q": tests["q"].round(4).to_numpy(),
            _("beyond chance"): (tests["verdict"] != "no evidence").to_numpy(),
        }
    )


def moved_takeaway(order: np.ndarray) -> str:
    """Which breeds moved beyond chance, and the largest change of all with its p value."""
    first = int(order[0])
    ends = [float(scores(given, measure)[first]) for given in runs.values()]
    largest = _("The largest change is that of {breed}, {change} ({before} → {after}; exact McNemar p {p}).").format(
        breed=breed_label(breeds[first]),
        change=points(ends[1] - ends[0]),
        before=percent(ends[0]),
        after=percent(ends[1]),
        p=p_text(float(result.breeds["p"].iloc[first])),
    )
    named = {"better": result.better, "worse": result.worse}
    if not any(named.values()):
        return _("No breed moved beyond chance: all of these changes may be noise.") + " " + largest
    better, worse = (", ".join(breed_label(breed) for breed in named[side]) or _("none") for side in named)
    return (
        _(
            "Beyond chance, the new method is better on {better} and worse on {worse} (marked *; exact McNemar test "
            "per breed, Benjamini-Hochberg at 5 %). Every other change may be noise."
        ).format(better=better, worse=worse)
        + " "
        + largest
    )


def show_moved() -> None:
    """The breeds that changed most between the runs, those beyond chance marked."""
    ranked = moved_order()
    order, tests = ranked[:FIRST], result.breeds.set_index("breed")
    beyond = {*result.better, *result.worse}
    drawn = shared.drawn(
        figures.breed_dumbbells,
        [breeds[i] + (" *" if breeds[i] in beyond else "") for i in order],
        *(scores(given, measure)[order] for given in runs.values()),
        title=MEASURES[measure],
        notes=[_("{n} photos, p {p}").format(n=support[i], p=p_text(float(tests["p"][breeds[i]]))) for i in order],
    )
    shared.figure(drawn, moved_takeaway(order), moved_table(ranked), "moved")


st.title(_("Worst breeds"))
st.markdown(_("Where the runs fail, what these breeds are taken for, and the photos that it happens on."))
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    measure = shared.choice(st.selectbox, "measure", _("Rank by"), MEASURES, "probability", width=320)
    roles = {role: shared.role_name(role) for role in shared.ROLE}
    role = shared.choice(st.segmented_control, "ranked-by", _("Run"), roles, "new", required=True)
    everything = len(breeds) <= FIRST or st.toggle(_("All {n} breeds").format(n=len(breeds)), key="every-breed")

ranked = np.argsort(scores(runs[role], measure), kind="stable")
ranked = ranked[support[ranked] > 0]
order = ranked if everything else ranked[:FIRST]
drawn = shared.drawn(
    figures.breed_dumbbells,
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

st.caption(_("Typical photos: nearest to the mean of their breed's training photos in the features of each run."))
embedded.warn_of_missing(dataset, [shared.baseline(), shared.new()], _("typical photos"))

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

if shared.baseline() != shared.new():
    st.header(_("What moved between the runs"))
    show_moved()
