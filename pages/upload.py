"""/upload: a visitor's own photo, and what both runs say about it."""

import pandas as pd
import streamlit as st

from dogpoc import DogpocError, artifacts, figures
from dogpoc.dataset import photo_paths
from dogpoc.doubt import CONFIDENCES
from dogpoc.photo import read_photo, thumbnail
from dogpoc.translation import _, breed_label, number, percent
from pages import shared
from pages.shared import answering
from pages.shared.answering import Answer

shared.through_app()

TOP = 5  # breeds shown
SHOWN = 480  # pixels, longer side, of the photo
CLOSE = 0.05  # two probabilities within it are called about equal
MOST_NAMED = 8  # breeds of a set
MOST_PHOTOS = 50  # of one visitor at a time
BATCH = "python -m dogpoc predict FOLDER --csv"
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


def show(role: str, answer: Answer, confidence: float) -> None:
    """One run's answer: the likeliest breeds, the set, the time, and the part of the photo that it saw."""
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
    if answer.attention:
        caption = _("Where it looks: what is bright reaches the answer most (attention rollout).")
    else:
        caption = _("The part of the photo that it sees. A CNN has no attention to show.")
    st.image(answer.picture, caption=caption, width="stretch", alt=caption)


def kept_answers(photos: dict) -> dict[str, dict | str]:
    """file id -> what `answers` gives for it, or one line that says why not; kept for the session."""
    asked = (shared.dataset(), shared.baseline(), shared.new())
    before = st.session_state.get("upload-answers", {})
    known = before["photos"] if before.get("asked") == asked else {}
    bar = st.progress(0.0, _("Looking …")) if len(photos) > 1 and photos.keys() - known.keys() else None
    kept = {}
    for n, (key, file) in enumerate(photos.items(), start=1):
        if key not in known:
            with st.spinner(_("Looking …")):
                known = known | {key: _answered(sample_bytes(key) if file is None else file.getvalue())}
        kept[key] = known[key]
        if bar:
            bar.progress(n / len(photos), _("{n} of {photos} photos").format(n=n, photos=len(photos)))
    if bar:
        bar.empty()
    st.session_state["upload-answers"] = {"asked": asked, "photos": kept}
    return kept


def _answered(data: bytes) -> dict | str:
    try:
        return answers(data)
    except DogpocError as error:
        return str(error)


def chosen_photo(keys: list[str], names: dict[str, str]) -> str:
    """Which of several photos is shown in full: the newest one, unless another is chosen."""
    if len(keys) == 1:
        return keys[0]
    return st.selectbox(_("Photo in full"), keys[::-1], format_func=names.get, key="upload-chosen")


def show_photo(kept: dict) -> None:
    """One photo, the sentence about it, and both runs' answers."""
    for kind, line in kept["lines"]:
        {"info": st.info, "error": st.error}[kind](line)
    photo, said = st.columns([1, 2], vertical_alignment="center")
    photo.image(kept["photo"], alt=_("Your photo"))
    if not kept["answers"]:
        return
    said.markdown(f"### {verdict(kept['answers'])}")
    if max(answer.probs[0] for answer in kept["answers"].values()) < UNSURE:
        said.caption(_("No answer is sure: it may be a breed that the models do not know, or no dog."))
    confidence = 0.9
    if any(answer.likely for answer in kept["answers"].values()):
        confidence = said.segmented_control(
            _("Confidence of the sets of breeds"),
            CONFIDENCES,
            default=confidence,
            required=True,
            format_func=lambda share: percent(share, 0),
            key="confidence",
        )
    for column, (role, answer) in zip(st.columns(2, gap="large"), kept["answers"].items(), strict=False):
        with column:
            show(role, answer, confidence)


def show_batch(kept: dict[str, dict | str], names: dict[str, str]) -> None:
    """All photos as a table: both runs' breed, probability, set at 90 % and whether it is strange; also as CSV."""
    rows = []
    for key, found in kept.items():
        row = {"photo": names[key], "problem": found if isinstance(found, str) else ""}
        for role, answer in {} if isinstance(found, str) else found["answers"].items():
            row |= {
                f"{role}_breed": breed_label(answer.breeds[0]),
                f"{role}_probability": round(float(answer.probs[0]), 4),
                f"{role}_set": ", ".join(map(breed_label, answer.breeds[: answer.likely[0.9]]))
                if answer.likely
                else "",
                f"{role}_strange": answer.strange,
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    st.subheader(_("All {n} photos").format(n=len(kept)))
    st.dataframe(table, hide_index=True, key="batch", alt=_("All photos with both runs' answers"))
    shared.download(table, "photos")


# -- a photo of the test set --------------------------------------------------------------------------------------


def sample_photo() -> str | None:
    """Id of the test photo that the URL or the button asks for, None without one."""
    st.button(_("Try a test photo"), on_click=choose_sample, icon=":material/casino:")
    asked = st.query_params.get("photo")
    if asked is None:
        return None
    try:
        table = artifacts.read_photos(shared.dataset())
    except DogpocError as error:
        st.error(str(error))
        return None
    if not ((table["id"] == asked) & (table["split"] == "test")).any():
        st.warning(_("There is no test photo '{photo}' here.").format(photo=shared.plain(asked[:100])))
        return None
    if sample_bytes(asked) is None:
        st.info(_("This test photo is not on this machine: upload one instead."))
        return None
    return asked


def choose_sample() -> None:
    """Put a test photo that is on this machine into the URL, another one each time."""
    table = artifacts.read_photos(shared.dataset())
    table = table[table["split"] == "test"]
    found = photo_paths(table["sha256"], table["bytes"])
    table = table[table["sha256"].isin(found)]
    if len(table):
        st.query_params["photo"] = table["id"].sample(1).iloc[0]
    else:
        shared.photos_found(table)


def sample_bytes(photo: str) -> bytes | None:
    """The file of a photo of the dataset; None where it is not on this machine."""
    table = artifacts.read_photos(shared.dataset())
    row = table[table["id"] == photo]
    path = photo_paths(row["sha256"], row["bytes"]).get(row["sha256"].iloc[0])
    try:
        return path.read_bytes() if path else None
    except OSError:
        return None


def true_breed(photo: str) -> str:
    """What the dataset calls the dog in a photo."""
    table = artifacts.read_photos(shared.dataset())
    return table.loc[table["id"] == photo, "breed"].iloc[0]


st.title(_("Which breed does it look like?"))
try:
    breeds = len(artifacts.read_run(shared.dataset(), shared.new())["breeds"])
    st.write(_("Both runs look at your photo of a dog. They know {n} breeds and can name no other.").format(n=breeds))
except DogpocError as error:
    st.error(str(error))

camera = st.toggle(_("Use the camera"), key="upload-camera")
if camera:
    taken = st.camera_input(_("Camera"))
    files = [taken] if taken else []
else:
    files = st.file_uploader(_("Photo"), key="upload-photo", accept_multiple_files=True)
st.caption(
    _(
        "Your photo is not stored: it is read in memory, its place and device data are dropped, "
        "and it is gone when you leave."
    )
)
sample = None if files else sample_photo()
photos = {file.file_id: file for file in files[-MOST_PHOTOS:]} or ({sample: None} if sample else {})
if len(files) > MOST_PHOTOS:
    st.warning(_("The last {n} photos are looked at; for more, run: `{command}`").format(n=MOST_PHOTOS, command=BATCH))
if not photos:
    st.session_state.pop("upload-answers", None)
    st.info(_("Choose a photo or drop one here: the dog in the middle, as large as possible."), icon=":material/pets:")
else:
    kept = kept_answers(photos)
    names = {key: file.name if file else sample for key, file in photos.items()}
    for key, found in kept.items():
        if isinstance(found, str):
            name = f"{shared.plain(names[key])}: " if len(kept) > 1 else ""
            st.error(name + found, icon=":material/broken_image:")
    answered = {key: found for key, found in kept.items() if not isinstance(found, str)}
    if answered:
        show_photo(answered[chosen_photo([*answered], names)])
    if sample and answered:
        st.caption(_("A test photo; its label says {breed}.").format(breed=breed_label(true_breed(sample))))
    if len(kept) > 1:
        show_batch(kept, names)
