"""Both runs' answers to one photo, in words and pictures."""

import streamlit as st

from dogpoc import artifacts, figures
from dogpoc.doubt import CONFIDENCES
from dogpoc.translation import _, breed_label, number, percent
from pages import shared
from pages.live.answering import Answer

TOP = 5  # breeds shown
CLOSE = 0.05  # two probabilities within it are called about equal
MOST_NAMED = 8  # breeds of a set
UNSURE = 0.5  # below it no breed is more likely than all others together


def verdict(given: dict[str, Answer]) -> str:
    """One sentence: what the photo looks like to both runs, and where they differ."""
    tops = {role: (breed_label(answer.breeds[0]), float(answer.probs[0])) for role, answer in given.items()}
    if len(tops) == 1:
        ((role, (breed, prob)),) = tops.items()
        return _("To {run} it looks like **{breed}** ({prob}).").format(
            run=given[role].run, breed=breed, prob=percent(prob, 0)
        )
    (breed, prob), (other, other_prob) = tops["baseline"], tops["new"]
    probs = {"baseline": percent(prob, 0), "new": percent(other_prob, 0)}
    if breed != other:
        sentence = _(
            "To the baseline it looks like **{breed}** ({baseline}); to the new method, like **{other}** ({new})."
        )
    elif abs(prob - other_prob) < CLOSE:
        sentence = _("To both it looks like **{breed}**, and they are about equally sure ({baseline} and {new}).")
    elif prob < other_prob:
        sentence = _("To both it looks like **{breed}**; the baseline is less sure ({baseline} against {new}).")
    else:
        sentence = _("To both it looks like **{breed}**; the new method is less sure ({new} against {baseline}).")
    return sentence.format(breed=breed, other=other, **probs)


def choose_confidence(given: dict[str, Answer]) -> float:
    """The confidence that sets of breeds are to have; no choice where no run gives such sets."""
    if not any(answer.likely for answer in given.values()):
        return 0.9
    return st.segmented_control(
        _("Confidence of the sets of breeds"),
        CONFIDENCES,
        default=0.9,
        required=True,
        format_func=lambda share: percent(share, 0),
        key="confidence",
    )


def set_words(answer: Answer, confidence: float) -> str:
    """The set of breeds that holds the true one with `confidence`, and how often such sets did on test photos."""
    names = [breed_label(breed) for breed in answer.breeds[: answer.likely[confidence]]]
    share = percent(confidence, 0)
    if len(names) > MOST_NAMED:
        return _("With {confidence} confidence it may be any of {n} breeds: it does not know.").format(
            confidence=share, n=len(names)
        )
    if len(names) == 1:
        return _("If it is a breed that it knows, with {confidence} confidence: **{breed}**.").format(
            confidence=share, breed=names[0]
        )
    listed = _("{first} or {last}").format(first=", ".join(names[:-1]), last=names[-1])
    return _("If it is a breed that it knows, with {confidence} confidence: **{breeds}**.").format(
        confidence=share, breeds=listed
    )


def measured_words(run: str, confidence: float) -> str:
    """How often sets of this kind held the true breed on test photos, and how often a known breed is called strange."""
    info = artifacts.read_run(shared.dataset(), run)
    numbers = info.get("metrics", {}).get("test", {})
    name = f"set_{confidence * 100:.0f}"
    if f"{name}_coverage" not in numbers:
        return ""
    return _(
        "On {photos} test photos such sets held the true breed in {coverage} of cases, with {size} breeds on average; "
        "{alarms} of these photos of known breeds were called strange."
    ).format(
        photos=number(numbers["photos"]),
        coverage=percent(numbers[f"{name}_coverage"]),
        size=number(numbers[f"{name}_size"], 2),
        alarms=percent(numbers["called_strange"]),
    )


def picture_words(answer: Answer) -> str:
    """What is drawn over the photo."""
    if answer.method is None:
        return _("The part of the photo that it sees.")
    if answer.method == "rollout":
        return _("Where it looks: what is bright reaches the answer most, whatever the breed (attention rollout).")
    words = (
        _("What speaks for {breed}: most where it is bright (Grad-CAM).")
        if answer.method == "gradcam"
        else _("What speaks for {breed}: most where it is bright (relevance).")
    )
    return words.format(breed=breed_label(answer.breeds[0]))


def show(role: str, answer: Answer, confidence: float) -> None:
    """One run's answer: the likeliest breeds, the set, the time, and the photo as it sees it with what it rests on."""
    breeds, probs = answer.breeds[:TOP], answer.probs[:TOP]
    st.markdown(f"#### {shared.MARK[role]} {shared.role_name(role)}")
    st.caption(_("{run} · answered in {ms} ms").format(run=answer.run, ms=number(answer.seconds * 1000)))
    spoken = ", ".join(f"{breed_label(breed)} {percent(prob, 0)}" for breed, prob in zip(breeds, probs, strict=True))
    bars = figures.probability_bars(breeds, probs, shared.ROLE[role])
    st.plotly_chart(bars, config=shared.CHART, key=f"bars-{role}", alt=f"{answer.run}: {spoken}")
    if answer.likely:
        st.markdown(set_words(answer, confidence), help=measured_words(answer.run, confidence) or None)
    if answer.strange:
        st.warning(_("Unlike the photos that it was taught: it may be a breed that it does not know, or no dog."))
    caption = picture_words(answer)
    st.image(answer.picture, caption=caption, width="stretch", alt=caption)
