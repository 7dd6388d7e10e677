"""Metrics: every number of the runs, with intervals, curves and what the numbers do not say."""

import numpy as np
import streamlit as st

from dogpoc import figures
from dogpoc.translation import _, breed_label
from pages import shared
from pages.sections import calibration, holdout, photos, resolution, searches, training, verdict
from pages.sections import runs as all_runs

shared.through_app()

dataset = shared.dataset()
infos, problems = shared.readable_runs(dataset)
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())


def breed_takeaway() -> str:
    """On how many breeds the runs differ beyond chance."""
    named = ", ".join(breed_label(breed) for breed in [*result.better, *result.worse])
    return shared.breeds_sentence(result) + (" " + _("Differing: {breeds}.").format(breeds=named) if named else "")


def show_breeds() -> None:
    """Each breed's recall by both runs, with the verdict of its own test."""
    order = np.argsort(result.breeds["difference"].fillna(0).to_numpy(), kind="stable")[::-1]
    breeds = result.breeds.iloc[order]
    verdicts = {"better": _("new is better"), "worse": _("new is worse"), "no evidence": _("no evidence either way")}
    notes = [
        _("{n} photos, {verdict}").format(n=support, verdict=verdicts[verdict])
        for support, verdict in zip(breeds["support"], breeds["verdict"], strict=True)
    ]
    drawn = shared.drawn(
        figures.breed_dumbbells,
        breeds["breed"].tolist(),
        breeds["baseline_recall"],
        breeds["new_recall"],
        title=_("photos named correctly"),
        notes=notes,
    )
    shared.figure(drawn, breed_takeaway(), breeds, "breeds")


SECTIONS = {
    "numbers": (_("Number by number"), lambda: verdict.show_numbers(runs, result)),
    "runs": (_("All runs"), lambda: all_runs.show(infos, runs)),
    "seeds": (_("The luck of training"), lambda: all_runs.show_seeds(dataset, infos, runs)),
    "holdout": (_("Photos from elsewhere"), lambda: holdout.show(dataset, infos, runs)),
    "breeds": (_("Breed by breed"), show_breeds),
    "calibration": (_("Does confidence mean anything?"), lambda: calibration.show(runs)),
    "abstaining": (_("When the model may abstain"), lambda: calibration.show_abstaining(runs)),
    "training": (_("How they learned"), lambda: training.show_curves(runs)),
    "cost": (_("What accuracy costs"), lambda: training.show_costs(infos)),
    "growth": (_("More breeds, harder choice"), lambda: training.show_breeds(dataset, runs)),
    "resolution": (_("How large a photo comes in"), lambda: resolution.show(dataset, runs)),
    "searches": (_("Searching for a better recipe"), lambda: searches.show(dataset, infos)),
    "photos": (_("The photos"), lambda: photos.show(dataset, runs)),
}

st.title(_("Metrics"))
for problem in problems:
    st.error(problem)
verdict.show(runs, result)
st.caption(" · ".join(f"[{title}](#{anchor})" for anchor, (title, _show) in SECTIONS.items()))
for anchor, (title, show) in SECTIONS.items():
    st.header(title, anchor=anchor)
    show()
