"""The order in which the threads of a process come to append; no server is needed."""

from __future__ import annotations

import threading

from flask_clustertoken.stores.zookeeper.queue import Turns
from tests.waiting import wait_until


def test_turns_are_given_in_the_order_of_asking() -> None:
    """Who has just had its turn stands behind those that wait."""
    turns, order = Turns(), []
    assert turns.take(0)
    threads = []
    for number in range(5):

        def wait(number: int = number) -> None:
            assert turns.take(30)
            order.append(number)
            turns.give()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        wait_until(lambda number=number: len(turns._waiting) == number + 1)
    turns.give()
    assert turns.take(30)
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4]


def test_who_gives_up_waiting_loses_no_turn_for_others() -> None:
    """A turn that nobody waits for any more goes to the next that asks."""
    turns = Turns()
    assert turns.take(0)
    assert not turns.take(0.01)
    turns.give()
    assert turns.take(0)
