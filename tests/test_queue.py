"""The line before the one worker: in turn, one at a time, told how many come first, no place kept in vain."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dogpoc.translation import use_language
from pages.live import answering


class Screen:
    """In place of streamlit: what one visitor is shown; in `stopped` are the visitors whose run streamlit stops."""

    def __init__(self):
        self.shown: dict[str, list[str]] = {}
        self.stopped: set[str] = set()

    def empty(self) -> "Screen":
        visitor = threading.current_thread().name
        if visitor in self.stopped:
            raise InterruptedError(visitor)
        self.shown.setdefault(visitor, []).append("")
        return self

    def caption(self, text: str) -> None:
        self.empty()
        self.shown[threading.current_thread().name][-1] = text


class Visitors:
    """Visitors who each ask for one computation, a thread each; the computation under way ends when it is let go."""

    def __init__(self):
        self.threads: dict[str, threading.Thread] = {}
        self.begun: list[str] = []
        self.results: dict[str, object] = {}
        self.let_go = threading.Semaphore(0)
        self.at_once = threading.Lock()

    def compute(self, name: str) -> str:
        assert self.at_once.acquire(blocking=False), "two computations at once"
        self.begun.append(name)
        self.let_go.acquire()
        self.at_once.release()
        return f"answer to {name}"

    def ask(self, name: str) -> None:
        """`name` lines up, behind all who asked before."""
        places = len(answering.LINE)
        self.threads[name] = threading.Thread(target=self._ask, args=(name,), name=name)
        self.threads[name].start()
        until(lambda: len(answering.LINE) == places + 1)

    def _ask(self, name: str) -> None:
        try:
            self.results[name] = answering.in_turn(self.compute, name)
        except InterruptedError as error:
            self.results[name] = error

    def finish(self) -> None:
        """Let everything go and wait for it."""
        self.let_go.release(100)
        for thread in self.threads.values():
            thread.join(10)
            assert not thread.is_alive()


def until(happened: Callable[[], bool]) -> None:
    """Wait for what must happen; fails after 10 s."""
    end = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


@pytest.fixture
def screen(monkeypatch) -> Screen:
    shown = Screen()
    monkeypatch.setattr(answering, "st", shown)
    monkeypatch.setattr(answering, "PATIENCE", 0.005)
    return shown


@pytest.fixture
def visitors(screen, monkeypatch) -> Iterator[Visitors]:
    monkeypatch.setattr(answering, "WORKER", ThreadPoolExecutor(1))
    monkeypatch.setattr(answering, "LINE", [])
    present = Visitors()
    yield present
    present.finish()
    answering.WORKER.shutdown()


def last_line(screen: Screen, visitor: str) -> str:
    return screen.shown.get(visitor, [""])[-1]


def test_visitors_are_answered_in_the_order_in_which_they_came_and_never_two_at_once(visitors):
    for name in "abcd":
        visitors.ask(name)
    visitors.finish()
    assert visitors.begun == ["a", "b", "c", "d"]
    assert visitors.results == {name: f"answer to {name}" for name in "abcd"}


def test_one_line_says_how_many_come_first_and_is_gone_when_it_is_ones_turn(visitors, screen):
    for name in "abcd":
        visitors.ask(name)
    until(lambda: [last_line(screen, name) for name in "bcd"] == ["1 ahead of you", "2 ahead of you", "3 ahead of you"])
    visitors.let_go.release()
    until(lambda: [last_line(screen, name) for name in "bcd"] == ["", "1 ahead of you", "2 ahead of you"])
    visitors.finish()
    assert [last_line(screen, name) for name in "bcd"] == ["", "", ""]


def test_a_visitor_alone_sees_no_line_however_long_it_takes(visitors, screen):
    visitors.ask("a")
    time.sleep(20 * answering.PATIENCE)
    visitors.finish()
    assert "a" not in screen.shown
    assert visitors.results == {"a": "answer to a"}


def test_who_stops_waiting_gives_up_the_place_and_nothing_is_computed(visitors, screen):
    for name in "abc":
        visitors.ask(name)
    screen.stopped.add("b")
    until(lambda: "b" in visitors.results)
    until(lambda: last_line(screen, "c") == "1 ahead of you")
    visitors.finish()
    assert isinstance(visitors.results["b"], InterruptedError)
    assert visitors.begun == ["a", "c"]


def test_many_photos_of_one_visitor_let_the_others_in_between(visitors):
    def batch() -> None:
        for n in range(3):
            answering.in_turn(visitors.compute, f"batch {n}")

    visitors.threads["batch"] = threading.Thread(target=batch, name="batch")
    visitors.threads["batch"].start()
    until(lambda: len(answering.LINE) == len(visitors.begun) == 1)
    visitors.ask("a")
    visitors.ask("b")
    visitors.finish()
    assert visitors.begun == ["batch 0", "a", "b", "batch 1", "batch 2"]


def test_a_computation_that_fails_raises_for_its_own_visitor_and_the_line_goes_on(visitors):
    with pytest.raises(ZeroDivisionError):
        answering.in_turn(lambda: 1 / 0)
    assert answering.in_turn(lambda: 2) == 2
    until(lambda: answering.LINE == [])


def test_the_worker_speaks_the_language_of_the_visitor(visitors):
    from dogpoc.translation import language

    use_language("fr")
    assert answering.in_turn(language) == "fr"
    use_language("en")
    assert answering.in_turn(language) == "en"


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_came_with_the_first_model_is_never_again_searched_for_garbage_and_later_objects_are(thawed, monkeypatch):
    from dogpoc import inference

    class Network:
        """Something that only the garbage collection frees."""

        preprocessing = SimpleNamespace(size=8)

        def __init__(self):
            self.itself = self

        def forward(self, pixels):
            assert pixels.shape == (1, 8, 8, 3)

    monkeypatch.setattr(inference, "use_threads", lambda _n: None)
    monkeypatch.setattr(inference, "load_classifier", lambda *_run, **_options: Network())
    answering._loaded("dogs", "first")
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    assert len(gc.get_objects()) < frozen / 10
    answering._loaded("dogs", "second")
    assert gc.get_freeze_count() <= frozen
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Network]
