"""Beat the model: the visitor guesses the breed of test photos, hard and ordinary ones, beside both runs."""

import secrets

import numpy as np
import streamlit as st

from dogpoc import comparison, metrics, quiz
from dogpoc.dataset import photo_paths
from dogpoc.translation import _, breed_label, ngettext, number, percent
from pages import shared

shared.through_app()

SHOWN = 480  # pixels, longer side, of the photo

dataset = shared.dataset()
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
comparison.check_comparable(runs["baseline"].evaluation, runs["new"].evaluation)
stored = runs["new"].evaluation
photos, breeds, true = stored.photos, stored.breeds, stored.true


def session() -> dict:
    """The session's quiz on these photos; it starts anew with other runs, and while no photo is on this machine.

    rows: photos in the order in which they are asked.   guesses: breeds, one for each photo so far.
    place: of the photo on show, in rows.
    """
    kept, asked = st.session_state.get("quiz"), tuple(given.key for given in runs.values())
    if not kept or kept["asked"] != asked or not len(kept["rows"]):
        here = photos["sha256"].isin(photo_paths(photos["sha256"], photos["bytes"]))
        every, seed = np.arange(len(true)), secrets.randbits(32)
        belief = np.stack([given.prob(every, true) for given in runs.values()])
        rows = quiz.in_order(np.flatnonzero(here), quiz.hard(belief), seed)
        kept = {"asked": asked, "seed": seed, "rows": rows, "guesses": [], "place": 0}
        st.session_state["quiz"] = kept
    return kept


def guess(place: int, breed: int) -> None:
    """Answer the photo at `place`; a second click comes too late."""
    guesses = st.session_state["quiz"]["guesses"]
    if len(guesses) == place:
        guesses.append(breed)


def go_on(place: int) -> None:
    """Show the photo at `place`."""
    st.session_state["quiz"]["place"] = place


def start_again() -> None:
    """Forget the guesses; other photos come."""
    del st.session_state["quiz"]


def offered(row: int) -> np.ndarray:
    """The breeds offered for a photo, in the order of their buttons."""
    mean_probs = np.stack([given.mean_probs for given in runs.values()])
    return quiz.offered(mean_probs, int(true[row]), (state["seed"], int(row)))


def choices(row: int) -> dict[str, tuple[int, float]]:
    """What each run chooses among the breeds offered for a photo, with its probability there."""
    return {role: quiz.chosen(given.evaluation.logits[row], offered(row)) for role, given in runs.items()}


def ask(row: int, place: int) -> None:
    """One button a breed; the keys 1 to 4 press them."""
    st.markdown("##### " + _("Which breed does its label say?"))
    for k, breed in enumerate(offered(row)):
        st.button(
            breed_label(breeds[breed]),
            key=f"guess-{place}-{k}",
            on_click=guess,
            args=(place, int(breed)),
            shortcut=str(k + 1),
            width="stretch",
        )


def reveal(row: int, guessed: int) -> None:
    """The photo's label, what the visitor said, and what each run says, among the breeds offered and among all."""
    label = breed_label(breeds[true[row]])
    if guessed == true[row]:
        st.markdown("##### " + _("✓ Right: its label says {breed}.").format(breed=label))
    else:
        said = breed_label(breeds[guessed])
        st.markdown("##### " + _("✗ Its label says {breed}; you said {said}.").format(breed=label, said=said))
    for role, (breed, prob) in choices(row).items():
        free = int(runs[role].predicted[row])
        st.markdown(
            _("{mark} {role}: **{breed}** {tick} ({prob} of what it gives to these {offered})").format(
                mark=shared.MARK[role],
                role=shared.role_name(role),
                breed=breed_label(breeds[breed]),
                tick=tick(breed == true[row]),
                prob=percent(prob, 0),
                offered=len(offered(row)),
            )
            + "  \n"
            + _("among all {n} breeds: {breed} {tick} ({prob})").format(
                n=len(breeds),
                breed=breed_label(breeds[free]),
                tick=tick(free == true[row]),
                prob=percent(runs[role].prob(row, free), 0),
            )
        )
    shared.why_link(photos["id"].iloc[row])


def tick(right: bool) -> str:
    """Right or wrong, in one sign."""
    return "✓" if right else "✗"


def go_on_button(place: int) -> None:
    """To the next photo, the next round, or a new quiz when all photos have been asked; the Enter key presses it."""
    if place + 1 == len(state["rows"]):
        st.info(_("These were all photos that are on this machine."))
        st.button(_("Start again"), on_click=start_again, type="primary", shortcut="Enter")
    else:
        text = _("Next photo") if (place + 1) % quiz.ROUND else _("Next round")
        st.button(text, on_click=go_on, args=(place + 1,), type="primary", shortcut="Enter", key=f"on-{place}")


def show_score(rows: np.ndarray, guesses: list[int]) -> None:
    """The visitor's score beside both runs' on the same photos, as a table with 95 % intervals."""
    answered = [choices(int(row)) for row in rows]
    right = {_("You"): np.array(guesses) == true[rows]}
    free = {_("You"): "–"}
    for role in shared.ROLE:
        name = f"{shared.MARK[role]} {shared.role_name(role)}"
        right[name] = np.array([found[role][0] for found in answered]) == true[rows]
        free[name] = number((runs[role].predicted[rows] == true[rows]).sum())
    heads = (_("right"), _("95 % interval"), _("right among all {n}").format(n=len(breeds)))
    lines = ["| | " + " | ".join(heads) + " |", "|---|--:|:-:|--:|"]
    for name, hits in right.items():
        low, high = metrics.wilson_interval(hits.sum(), len(rows))
        lines.append(f"| {name} | {hits.sum()} | {percent(low, 0)} – {percent(high, 0)} | {free[name]} |")
    st.subheader(ngettext("Score after {n} photo", "Score after {n} photos", len(rows)).format(n=number(len(rows))))
    st.markdown("\n".join(lines))
    if len(rows) % quiz.ROUND == 0 or len(rows) == len(state["rows"]):
        st.markdown("  \n".join(versus(role, *right.values()) for role in shared.ROLE))


def versus(role: str, visitor: np.ndarray, baseline: np.ndarray, new: np.ndarray) -> str:
    """Whether the visitor and a run differ on the photos so far, beyond chance or not."""
    run = {"baseline": baseline, "new": new}[role]
    alone, run_alone = int((visitor & ~run).sum()), int((run & ~visitor).sum())
    p = float(comparison.mcnemar_p(run_alone, alone))
    if p >= comparison.ALPHA:
        found = _("no evidence that either knows these dogs better")
    else:
        found = _("you know these dogs better") if alone > run_alone else _("it knows these dogs better")
    sentence = _("{mark} {role}: you alone are right on {alone}, it alone on {run_alone}: {found} (p {p}).")
    return sentence.format(
        mark=shared.MARK[role],
        role=shared.role_name(role),
        alone=alone,
        run_alone=run_alone,
        found=found,
        p=comparison.p_text(p),
    )


st.title(_("Beat the model"))
state = session()
if not state["guesses"]:
    st.markdown(
        _(
            "Which breed is it? You and both runs choose among the same {offered} breeds: the one that the label says, "
            "and those that the runs confuse it with most."
        ).format(offered=min(quiz.OFFERED, len(breeds)))
    )
if not len(state["rows"]):
    shared.photos_found(photos)
    st.stop()

place = state["place"]
row = int(state["rows"][place])
picture = shared.photo_bytes(photos, row, SHOWN)
first = place - place % quiz.ROUND
st.progress(
    (place - first + 1) / min(quiz.ROUND, len(state["rows"]) - first),
    _("Round {round}, photo {n} of {photos}").format(
        round=first // quiz.ROUND + 1, n=place - first + 1, photos=min(quiz.ROUND, len(state["rows"]) - first)
    ),
)
left, right = st.columns(2)
if picture:
    left.image(picture, alt=_("A dog whose breed is asked for"))
else:
    left.info(_("This photo is no longer on this machine."))
with right:
    if len(state["guesses"]) == place:
        ask(row, place)
    else:
        reveal(row, state["guesses"][place])
        go_on_button(place)
if state["guesses"]:
    show_score(state["rows"][: len(state["guesses"])], state["guesses"])
st.caption(
    _(
        "A round has {half} hard photos, to whose breed a run gives less than {unlikely} (its mistakes included), "
        "and {half} ordinary ones, both drawn at random and shuffled: betting against the runs does not pay. The runs "
        "score less here than on all photos, because photos on which they fail were looked for."
    ).format(half=quiz.ROUND // 2, unlikely=percent(quiz.UNLIKELY, 0))
)
shared.contamination_note(dataset, shared.baseline(), shared.new())
