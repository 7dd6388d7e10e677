"""Labels that may be wrong: which photos to look at (confident learning), and what a reviewer says about them."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from dogpoc import DogpocError
from dogpoc.translation import _, number

VERDICTS = ("right", "wrong", "unsure")  # what a reviewer says about a label
COLUMNS = ("photo", "label", "suggested", "verdict")  # of a reviewed list; an import needs the first and the last
MOST_BYTES = 1_000_000  # of an imported list


class ReviewError(DogpocError):
    """A file that is no reviewed list."""


# -- confident learning -------------------------------------------------------------------------------------------


def confident_breeds(probs: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The breed that each photo confidently shows, whatever its label: (n,) int, -1 where no breed is confident.

    A breed is confident for a photo if its probability is at least its mean over the photos that are labelled so; of
    several, the most probable counts (the confident joint of Northcutt, Jiang & Chuang, 2021, photo by photo).
    probs: (n, C), of photos that the model was not trained on.   true: (n,) labels. A breed that labels no photo is
    never confident.
    """
    support = np.bincount(true, minlength=probs.shape[1])
    own = np.take_along_axis(probs, true[:, None], axis=1)[:, 0].astype(np.float64)
    sums = np.bincount(true, weights=own, minlength=probs.shape[1])
    thresholds = np.divide(sums, support, out=np.full(len(sums), np.inf), where=support > 0)
    confident = np.where(probs >= thresholds - 1e-6, probs, -1)  # the mean of equal numbers may be a little more
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)


def confident_joint(probs: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(C, C) numbers of photos: rows = label, columns = the breed that they confidently show."""
    found, n = confident_breeds(probs, true), probs.shape[1]
    shown = found >= 0
    return np.bincount(true[shown] * n + found[shown], minlength=n * n).reshape(n, n)


def suspects(probs: Sequence[np.ndarray], true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Photos that confidently show the same other breed to every run: (rows, breeds), the most suspect first.

    probs: (n, C) of each run.   Ordered by the mean probability of the label over the runs, least first.
    """
    found = np.stack([confident_breeds(part, true) for part in probs])  # (runs, n)
    rows = np.flatnonzero((found[0] >= 0) & (found[0] != true) & (found == found[0]).all(axis=0))
    belief = np.mean([part[rows, true[rows]] for part in probs], axis=0)
    rows = rows[np.argsort(belief, kind="stable")]
    return rows, found[0][rows]


# -- reviewed lists -----------------------------------------------------------------------------------------------


def write_reviews(rows: Sequence[Mapping[str, str]]) -> bytes:
    """A reviewed list as CSV with COLUMNS."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_reviews(data: bytes, known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The verdicts of a reviewed list by photo, and the photos in it that are not among those `known`.

    data: an uploaded CSV file with columns photo and verdict; rows without a verdict are left out.
    Raises ReviewError: too large, no text, other columns, another verdict, or two verdicts on one photo.
    """
    if len(data) > MOST_BYTES:
        message = _("a reviewed list has at most {most} bytes; this file has {bytes}")
        raise ReviewError(message.format(most=number(MOST_BYTES), bytes=number(len(data))))
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        missing = [name for name in ("photo", "verdict") if name not in (rows.fieldnames or [])]
        if missing:
            message = _("this file has no column '{column}'; a reviewed list has the columns {columns}")
            raise ReviewError(message.format(column=missing[0], columns=", ".join(COLUMNS)))
        verdicts: dict[str, str] = {}
        for row in rows:
            photo, verdict = row["photo"] or "", (row["verdict"] or "").strip()
            if not verdict:
                continue
            _check_verdict(photo, verdict, verdicts.get(photo, verdict), rows.line_num)
            verdicts[photo] = verdict
    except (UnicodeDecodeError, csv.Error):
        raise ReviewError(_("this file is not CSV text; export a reviewed list here to see one")) from None
    known = set(known)
    return {p: v for p, v in verdicts.items() if p in known}, [p for p in verdicts if p not in known]


def _check_verdict(photo: str, verdict: str, before: str, line: int) -> None:
    if verdict not in VERDICTS:
        message = _("line {line}: '{verdict}' is no verdict; expected {verdicts}")
        raise ReviewError(message.format(line=line, verdict=verdict[:40], verdicts=", ".join(VERDICTS)))
    if verdict != before:
        message = _("line {line}: '{photo}' has the verdicts {before} and {verdict}; keep one")
        raise ReviewError(message.format(line=line, photo=photo[:80], before=before, verdict=verdict))
