"""Several things at once: order, bounds, errors."""

from __future__ import annotations

import threading
import time

import pytest

from litepose.errors import PictureError, SettingError
from litepose.in_order import in_order


def test_answers_come_in_the_order_of_the_things_whatever_takes_longest():
    def work(number):
        time.sleep(0.01 * (5 - number))
        return number * number

    assert [answer.result() for answer in in_order(work, range(6), in_flight=4)] == [0, 1, 4, 9, 16, 25]


def test_things_are_taken_only_as_they_are_needed():
    taken = []

    def things():
        for number in range(100):
            taken.append(number)
            yield number

    answers = in_order(lambda number: number, things(), in_flight=3)
    assert taken == []
    for number in range(5):
        assert next(answers).result() == number
        assert len(taken) <= number + 1 + 3
    answers.close()
    assert len(taken) <= 8


def test_two_are_worked_on_at_the_same_time_and_never_more():
    meeting, lock, now, most = threading.Barrier(2, timeout=10), threading.Lock(), [0], [0]

    def work(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        meeting.wait()  # each waits for another: alone it would never end
        with lock:
            now[0] -= 1

    for answer in in_order(work, range(8), in_flight=2):
        answer.result()
    assert most == [2]


def test_what_one_raises_leaves_the_others_alone():
    def work(number):
        if number == 1:
            raise PictureError("broken")
        return number

    answers = list(in_order(work, range(3), in_flight=2))
    assert [answer.exception() is None for answer in answers] == [True, False, True]
    with pytest.raises(PictureError, match="broken"):
        answers[1].result()


@pytest.mark.parametrize("in_flight", [0, -1, 10_000])
def test_an_impossible_number_in_flight_is_refused(in_flight):
    with pytest.raises(SettingError, match="1 to 64"):
        in_order(abs, [], in_flight=in_flight)
