"""/upload: a visitor's own photo, and what both runs say about it."""

import streamlit as st

from dogpoc import DogpocError, artifacts, figures
from dogpoc.photo import read_photo, thumbnail
from dogpoc.translation import _, breed_label, number, percent
from pages import shared
from pages.shared import answering
from pages.shared.answering import Answer

shared.through_app()

TOP = 5  # breeds shown
SHOWN = 480  # pixels, longer side, of the photo
CLOSE = 0.05  # two probabilities within it are called about equal
UNSURE = 0.5  # below it no breed is more likely than all others together


def answers(data: bytes) -> dict:
    """Both runs' answers to the photo in a file's bytes, as they are kept for the session: a thumbnail, no photo."""
    image = answering.in_turn(read_photo, data)
    given, lines = {}, []
    for role in shared.ROLE:
        try:
            run, line = answering.able_run(shared.dataset(), shared.run(role))
            if line:
                lines.append(("info", line))
            if run and run not in [answer.run for answer in given.values()]:
                model = answering.classifier(shared.dataset(), run)
                given[role] = answering.in_turn(answering.answer, run, model, image)
        except DogpocError as error:  # of this run; the other one still answers
            lines.append(("error", str(error)))
    return {"photo": thumbnail(image, SHOWN), "answers": given, "lines": lines}


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


def show(role: str, answer: Answer) -> None:
    """One run's answer: the likeliest breeds, the time, and the part of the photo that it saw."""
    breeds, probs = answer.breeds[:TOP], answer.probs[:TOP]
    st.markdown(f"#### {shared.MARK[role]} {shared.role_name(role)}")
    st.caption(_("{run} · answered in {ms} ms").format(run=answer.run, ms=number(answer.seconds * 1000)))
    spoken = ", ".join(f"{breed_label(breed)} {percent(prob, 0)}" for breed, prob in zip(breeds, probs, strict=True))
    bars = figures.probability_bars(breeds, probs, shared.ROLE[role])
    st.plotly_chart(bars, config=shared.CHART, key=f"bars-{role}", alt=f"{answer.run}: {spoken}")
    if answer.attention:
        caption = _("Where it looks: what is bright reaches the answer most (attention rollout).")
    else:
        caption = _("The part of the photo that it sees. A CNN has no attention to show.")
    st.image(answer.picture, caption=caption, width="stretch", alt=caption)


st.title(_("Which breed does it look like?"))
try:
    breeds = len(artifacts.read_run(shared.dataset(), shared.new())["breeds"])
    st.write(_("Both runs look at your photo of a dog. They know {n} breeds and can name no other.").format(n=breeds))
except DogpocError as error:
    st.error(str(error))

camera = st.toggle(_("Use the camera"), key="upload-camera")
upload = st.camera_input(_("Camera")) if camera else st.file_uploader(_("Photo"), key="upload-photo")
st.caption(
    _(
        "Your photo is not stored: it is read in memory, its place and device data are dropped, "
        "and it is gone when you leave."
    )
)
if upload is None:
    st.session_state.pop("upload-answers", None)
    st.info(_("Choose a photo or drop one here: the dog in the middle, as large as possible."), icon=":material/pets:")
else:
    asked = (upload.file_id, shared.dataset(), shared.baseline(), shared.new())
    try:
        if st.session_state.get("upload-answers", {}).get("asked") != asked:
            with st.spinner(_("Looking …")):
                st.session_state["upload-answers"] = {"asked": asked, **answers(upload.getvalue())}
        kept = st.session_state["upload-answers"]
    except DogpocError as error:
        st.session_state.pop("upload-answers", None)
        st.error(str(error), icon=":material/broken_image:")
    else:
        for kind, line in kept["lines"]:
            {"info": st.info, "error": st.error}[kind](line)
        photo, said = st.columns([1, 2], vertical_alignment="center")
        photo.image(kept["photo"], alt=_("Your photo"))
        if kept["answers"]:
            said.markdown(f"### {verdict(kept['answers'])}")
            if max(answer.probs[0] for answer in kept["answers"].values()) < UNSURE:
                said.caption(_("No answer is sure: it may be a breed that the models do not know, or no dog."))
            for column, (role, answer) in zip(st.columns(2, gap="large"), kept["answers"].items(), strict=False):
                with column:
                    show(role, answer)
