"""dogpoc compares image classifiers on the same photos, and shows where they differ, why, and how surely."""


class DogpocError(Exception):
    """An expected failure, told in one line: what is wrong, expected, got, and the way out."""
