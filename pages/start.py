"""Start: what is compared, who wins, and the way to each page."""

import streamlit as st

from dogpoc import comparison, metrics
from dogpoc.translation import _, number, percent, points
from pages import shared

shared.through_app()

dataset = shared.dataset()
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())

st.title(_("Which classifier knows its dogs?"))
st.markdown(
    _("Two classifiers name the breed in the same **{photos} test photos** of **{breeds} breeds** ({dataset}).").format(
        photos=number(result.photos), breeds=len(result.breeds), dataset=dataset
    )
)
st.subheader(shared.winner_sentence(result))
st.markdown(comparison.verdict(result))

cells = st.columns(3, border=True)
for cell, (role, given) in zip(cells, runs.items(), strict=False):
    correct = int(given.counts.trace())
    with cell.container(gap="xsmall"):
        st.metric(f"{shared.MARK[role]} {shared.role_name(role)}", percent(correct / result.photos))
        st.markdown(_("of the photos named correctly"))
        st.caption(shared.interval(*metrics.wilson_interval(correct, result.photos)))
        shared.guess_note(given)
        st.caption(f"**{given.evaluation.run}** · {shared.method_summary(given.evaluation.info)}")
with cells[2].container(gap="xsmall"):
    st.metric(_("Difference"), points(result.difference))
    st.markdown(_("new method − baseline"))
    st.caption(shared.interval(result.difference_low, result.difference_high, points))
    st.caption(
        _(
            "The new method mends {mended} photos that the baseline gets wrong and breaks {broken} that it gets right. "
            "Both are right on {both_right} and wrong on {both_wrong}."
        ).format(
            mended=number(result.only_new),
            broken=number(result.only_baseline),
            both_right=number(result.both_right),
            both_wrong=number(result.both_wrong),
        )
    )
shared.contamination_note(dataset, shared.baseline(), shared.new())

st.subheader(_("Look closer"))
WAYS = {
    "pages/story.py": _("The presentation: the question, the photos, both methods, the result, slide by slide."),
    "pages/metrics.py": _("Every number with its interval, training curves, calibration, breed by breed."),
    "pages/confusions.py": _("Which breed is taken for which. Click a cell to see the dogs."),
    "pages/worst-breeds.py": _("The breeds that go wrong most, what they are taken for, and the mistakes."),
    "pages/mistakes.py": _("Every photo that a run gets wrong, by breed and by who is right, worst first."),
    "pages/labels.py": _("Photos on which both runs contradict the label, for a person to judge."),
    "pages/map.py": _("All photos as each run arranges them: what looks alike to it lies close."),
    "pages/attention.py": _("Which parts of a photo each model looks at."),
    "pages/upload.py": _("Try both on a photo of your own."),
    "pages/quiz.py": _("Name hard photos yourself, and see whether a run beats you."),
}
for path, what in WAYS.items():
    link, words = st.columns([2, 7], vertical_alignment="center")
    link.page_link(path, icon=":material/arrow_forward:")
    words.caption(what)
