#!/usr/bin/env python3
"""Holds the simulation of a fleet to what queueing theory says, and to its own rules."""

import math
import sys
import unittest

import fleet


def erlang_b(servers: int, load: float) -> float:
    """The part of the calls that finds all of `servers` busy, where such calls are lost."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked


def poisson_tail(least: int, mean: float) -> float:
    return 1 - sum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(least))


class FleetTest(unittest.TestCase):
    PLACES, LOAD, LENGTH, END = 24, 20.0, 60.0, 200_000.0

    def run_fleet(self, patience: float) -> fleet.Outcome:
        sessions = fleet.steady(self.LOAD, self.LENGTH, self.END, seed=3)
        return fleet.Fleet(3, self.PLACES // 3, patience).run(sessions, [], self.END)

    def test_without_patience_sessions_are_lost_as_erlang_b_says(self) -> None:
        outcome = self.run_fleet(patience=0)
        self.assertAlmostEqual(outcome.waited / outcome.begun, erlang_b(self.PLACES, self.LOAD), delta=0.006)
        self.assertEqual(outcome.waited, outcome.given_up)

    def test_with_endless_patience_sessions_come_and_go_as_if_there_were_room(self) -> None:
        # A speaker ends when the speech does, place or not. So the number of sessions is Poisson's.
        outcome = self.run_fleet(patience=1e9)
        self.assertAlmostEqual(outcome.waited / outcome.begun, poisson_tail(self.PLACES, self.LOAD), delta=0.03)
        self.assertEqual(outcome.given_up, 0)

    def test_the_sessions_of_a_lost_server_move_as_far_as_there_is_room(self) -> None:
        sessions = [fleet.Session(0, 1000) for _ in range(20)]
        lost = fleet.Fleet(3, 8, keep_live=True).run(sessions, [fleet.Loss(10, 1, 200)], 300)
        self.assertEqual(lost.most_live, 20)
        self.assertEqual(lost.begun, 20)
        self.assertIn(lost.moved, range(4, 9))  # On the server were at most 8, and on the two others 16.
        self.assertEqual(lost.moved_waited, 4)  # 16 places are left for 20.
        self.assertEqual(lost.given_up, 4)  # After 60 seconds; the server is back after 200.
        self.assertEqual(fleet.at_times(lost.live, [5, 11, 299]), [20, 16, 16])

    def test_those_who_wait_get_the_place_that_becomes_free(self) -> None:
        outcome = fleet.Fleet(1, 1).run([fleet.Session(0, 20), fleet.Session(5, 30)], [], 100)
        self.assertEqual((outcome.waited, outcome.given_up, outcome.longest_wait), (1, 0, 15))


if __name__ == "__main__":
    sys.exit(unittest.main())
