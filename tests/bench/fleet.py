#!/usr/bin/env python3
"""Simulates a fleet of servers: how many are needed for so many live sessions, and what a server's loss costs.

    tests/bench/fleet.py --capacity 160 --live 1000000             # The least servers that will do, and what then happens.
    tests/bench/fleet.py --capacity 160 --live 1000000 --servers N # What happens with N servers.
    tests/bench/fleet.py --check                                   # The simulation beside three real servers, in two minutes.

CAPACITY is what `leapstream load --find` prints for one server; it is taken as the server's max_sessions, so that all
sessions that have a place are served in time. LIVE is the mean number of sessions at once in the busiest hour. Sessions
begin independently of each other, and last --minutes on average, by an exponential distribution.

Modelled is what client and server do (docs/operating.md, docs/running.md): a session goes to any server, and from a full
one to another at once; where all are full it looks for a place for 60 seconds and is then given up. When a server is
lost, its sessions look for a place in the same way, and a server is back after --repair minutes. One is lost half-way
for certain, others by --hours. Not modelled: the fractions of a second that a move takes, and updates, which move
sessions as losses do, but one server at a time and when it suits.

--check starts three servers of small max_sessions with the embedded model, lets `leapstream translate` speak to them,
kills one of them with SIGKILL half-way, and counts live sessions each half second. The same sessions, with the same
lengths and times, are simulated. Needs build/bin/leapstream and leapstream-server.
"""

import argparse
import collections
import dataclasses
import heapq
import itertools
import math
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # Seconds; client/types.h: resume_timeout.
MOST_WAIT = 1e-3  # Of the sessions, where the number of servers is looked for.


@dataclasses.dataclass(frozen=True)
class Session:
    begin: float
    seconds: float


@dataclasses.dataclass
class Loss:
    """A server's, from a time on, for so long."""

    at: float
    server: int
    seconds: float


@dataclasses.dataclass
class Outcome:
    begun: int = 0
    waited: int = 0  # Of the begun ones: found no place at once.
    moved: int = 0  # Sessions whose server was lost.
    moved_waited: int = 0
    given_up: int = 0
    longest_wait: float = 0
    most_live: int = 0
    live: list[tuple[float, int]] = dataclasses.field(default_factory=list)  # Each change of the number with a place.


class Fleet:
    """Servers with `places` each. A session is the number of its arrival."""

    def __init__(self, servers: int, places: int, patience: float = PATIENCE, seed: int = 1, keep_live: bool = False):
        self._places = places
        self._patience = patience
        self._random = random.Random(seed)
        self._keep_live = keep_live
        self._on: list[set[int]] = [set() for _ in range(servers)]
        self._up = [True] * servers
        self._open = list(range(servers))  # Those with room, in any order; _slot has each one's index there.
        self._slot: list[int | None] = list(range(servers))
        self._server: dict[int, int] = {}  # Of each session with a place.
        self._waiting: collections.OrderedDict[int, float] = collections.OrderedDict()  # Since when.
        self._events: list[tuple[float, int, str, int, float]] = []
        self._numbers = itertools.count()
        self.outcome = Outcome()

    def run(self, sessions: Iterable[Session], losses: Iterable[Loss], end: float) -> Outcome:
        """Sessions in the order of their beginning."""
        for loss in losses:
            self._at(loss.at, "lose", loss.server, loss.seconds)
        arrivals = iter(sessions)
        following = next(arrivals, None)
        number = 0
        while following is not None or self._events:
            if following is not None and (not self._events or following.begin <= self._events[0][0]):
                if following.begin > end:
                    break
                self._begin(number, following)
                number += 1
                following = next(arrivals, None)
                continue
            now, _, kind, which, seconds = heapq.heappop(self._events)
            if now > end:
                break
            getattr(self, f"_{kind}")(now, which, seconds)
        return self.outcome

    def _at(self, when: float, kind: str, which: int, seconds: float = 0) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), kind, which, seconds))

    def _begin(self, session: int, arrival: Session) -> None:
        self.outcome.begun += 1
        self._at(arrival.begin + arrival.seconds, "finish", session)
        if not self._place(session, arrival.begin):
            self.outcome.waited += 1

    def _place(self, session: int, now: float) -> bool:
        if not self._open:
            self._waiting[session] = now
            self._at(now + self._patience, "give_up", session)
            return False
        server = self._random.choice(self._open)
        self._on[server].add(session)
        self._server[session] = server
        if len(self._on[server]) == self._places:
            self._close(server)
        self._count(now)
        return True

    def _count(self, now: float) -> None:
        self.outcome.most_live = max(self.outcome.most_live, len(self._server))
        if self._keep_live:
            self.outcome.live.append((now, len(self._server)))

    def _close(self, server: int) -> None:
        slot = self._slot[server]
        if slot is None:
            return
        last = self._open.pop()
        if last != server:
            self._open[slot] = last
            self._slot[last] = slot
        self._slot[server] = None

    def _reopen(self, server: int, now: float) -> None:
        """There is room again, or the server is: those who wait come first."""
        if self._slot[server] is None and self._up[server] and len(self._on[server]) < self._places:
            self._slot[server] = len(self._open)
            self._open.append(server)
        while self._waiting and self._open:
            session, since = self._waiting.popitem(last=False)
            self.outcome.longest_wait = max(self.outcome.longest_wait, now - since)
            self._place(session, now)

    def _finish(self, now: float, session: int, _: float) -> None:
        server = self._server.pop(session, None)
        if server is None:
            self._waiting.pop(session, None)
            return
        self._on[server].discard(session)
        self._count(now)
        self._reopen(server, now)

    def _give_up(self, now: float, session: int, _: float) -> None:
        since = self._waiting.get(session)
        if since is not None and now >= since + self._patience:
            del self._waiting[session]
            self.outcome.given_up += 1
            self.outcome.longest_wait = self._patience

    def _lose(self, now: float, server: int, seconds: float) -> None:
        if not self._up[server]:
            return
        self._up[server] = False
        self._close(server)
        sessions, self._on[server] = self._on[server], set()
        self._at(now + seconds, "repair", server)
        for session in sorted(sessions):
            del self._server[session]
        self._count(now)
        for session in sorted(sessions):
            self.outcome.moved += 1
            if not self._place(session, now):
                self.outcome.moved_waited += 1

    def _repair(self, now: float, server: int, _: float) -> None:
        self._up[server] = True
        self._reopen(server, now)


def steady(live: float, seconds: float, end: float, seed: int) -> Iterator[Session]:
    """`live` sessions at once from the start on: those of the past, whose rest lasts as long, then new ones."""
    source = random.Random(seed)
    for _ in range(round(live)):
        yield Session(0, source.expovariate(1 / seconds))
    now = 0.0
    while True:
        now += source.expovariate(live / seconds)
        if now > end:
            return
        yield Session(now, source.expovariate(1 / seconds))


def random_losses(servers: int, hours: float, repair: float, end: float, seed: int) -> list[Loss]:
    """Each server is lost every so many hours on average, and one half-way for certain: in a small fleet it might be none."""
    source = random.Random(seed)
    losses = [Loss(end / 2, 0, repair)]
    now = source.expovariate(servers / (hours * 3600))
    while now < end:
        losses.append(Loss(now, source.randrange(servers), repair))
        now += source.expovariate(servers / (hours * 3600))
    return losses


def simulate(options: argparse.Namespace, servers: int) -> Outcome:
    end = options.simulated * 60
    losses = random_losses(servers, options.hours, options.repair * 60, end, options.seed + 1)
    sessions = steady(options.live, options.minutes * 60, end, options.seed)
    outcome = Fleet(servers, options.capacity, seed=options.seed).run(sessions, losses, end)
    outcome.begun -= round(options.live)
    return outcome


def least_servers(options: argparse.Namespace) -> int:
    """The least number with which at most MOST_WAIT of the sessions wait for a place, new ones or moved ones."""
    def holds(servers: int) -> bool:
        outcome = simulate(options, servers)
        begun, moved = max(outcome.begun, 1), max(outcome.moved, 1)
        good = outcome.waited <= MOST_WAIT * begun and outcome.moved_waited <= MOST_WAIT * moved
        print(f"{servers} servers: {100 * outcome.waited / begun:.2f} % of the new sessions and "
              f"{100 * outcome.moved_waited / moved:.2f} % of the moved ones wait", file=sys.stderr, flush=True)
        return good
    low = math.ceil(options.live / options.capacity)
    if holds(low):
        return low
    step = max(1, low // 200)
    high = low + step
    while not holds(high):
        low, step = high, step * 2
        high = low + step
    while high - low > max(1, low // 500):
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def report(options: argparse.Namespace, servers: int, outcome: Outcome) -> str:
    begun = max(outcome.begun, 1)
    moved = max(outcome.moved, 1)
    places = servers * options.capacity
    return "\n".join([
        f"{servers:,} servers of {options.capacity} sessions: {places:,} places for {options.live:,.0f} live sessions, "
        f"{options.live / places:.0%} of them used",
        f"in {options.simulated:g} minutes: {outcome.begun:,} sessions begun, {outcome.most_live:,} at once at most",
        f"found no place at once: {outcome.waited:,} ({100 * outcome.waited / begun:.3f} %); longest wait "
        f"{outcome.longest_wait:.1f} s; given up after {PATIENCE:g} s: {outcome.given_up:,}",
        f"interrupted, as their server was lost: {outcome.moved:,}; of these found no place at once: "
        f"{outcome.moved_waited:,} ({100 * outcome.moved_waited / moved:.3f} %)"])


# --- The check beside real servers. ---

CHECK_SERVERS, CHECK_PLACES, CHECK_LIVE, CHECK_MEAN, CHECK_END = 3, 6, 11.0, 12.0, 90.0
WORDS_A_SECOND = 3


def words(count: int) -> str:
    """So many words of the demonstration's text, again and again, a sentence a line."""
    lines = (REPOSITORY / "docs/demo.en").read_text().splitlines()
    text: list[str] = []
    for line in itertools.cycle(lines):
        some = line.split()[:count]
        text.append(" ".join(some))
        count -= len(some)
        if count <= 0:
            return "\n".join(text) + "\n"
    raise AssertionError("docs/demo.en is empty")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RealServer:
    def __init__(self, programs: Path, folder: Path, number: int):
        self.port, self._metrics = free_port(), free_port()
        self._log = (folder / f"server{number}.log").open("w")
        self.process = subprocess.Popen(
            [programs / "leapstream-server", "--model", REPOSITORY / "model/pretrained/en-de", "--compute-type", "int8",
             "--listen", f"127.0.0.1:{self.port}", "--metrics-listen", f"127.0.0.1:{self._metrics}",
             "--max-sessions", str(CHECK_PLACES), "--resume-key-file", folder / "key"], stdout=self._log, stderr=self._log)

    def live(self) -> int | None:
        """None: it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=1) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        return sum(int(float(line.split()[-1])) for line in text.splitlines()
                   if line.startswith("leapstream_sessions_active"))


@dataclasses.dataclass
class Seen:
    """What was counted of the real sessions."""

    live: list[tuple[float, int]]
    moved: int
    given_up: int


def watch(programs: Path, folder: Path, sessions: list[Session], loss: Loss) -> Seen:
    servers = [RealServer(programs, folder, i) for i in range(CHECK_SERVERS)]
    clients: list[subprocess.Popen[bytes]] = []
    try:
        deadline = time.monotonic() + 60
        while any(server.live() is None for server in servers):
            if time.monotonic() > deadline:
                raise SystemExit(f"the servers did not start: see {folder}")
            time.sleep(0.1)
        for i, session in enumerate(sessions):
            (folder / f"{i}.en").write_text(words(max(1, round(session.seconds * WORDS_A_SECOND))))
        addresses = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        start = time.monotonic()
        live: list[tuple[float, int]] = []
        moved = 0
        lost = False
        while (now := time.monotonic() - start) < CHECK_END:
            while len(clients) < len(sessions) and sessions[len(clients)].begin <= now:
                i = len(clients)
                with (folder / f"{i}.log").open("w") as log:
                    clients.append(subprocess.Popen(
                        [programs / "leapstream", "translate", "--server", addresses, "--pace", f"{WORDS_A_SECOND}/s",
                         "--from-file", folder / f"{i}.en"], stdout=subprocess.DEVNULL, stderr=log))
            if not lost and now >= loss.at:
                moved = servers[loss.server].live() or 0
                servers[loss.server].process.send_signal(signal.SIGKILL)
                lost = True
            live.append((now, sum(server.live() or 0 for server in servers)))
            time.sleep(max(0.0, 0.5 - (time.monotonic() - start - now)))
        given_up = sum(client.poll() == 3 for client in clients)
        return Seen(live, moved, given_up)
    finally:
        for process in [*clients, *(server.process for server in servers)]:
            process.kill()
            process.wait()


def at_times(changes: list[tuple[float, int]], times: list[float]) -> list[int]:
    """The number at each of the times."""
    numbers = []
    position = 0
    for moment in times:
        while position < len(changes) and changes[position][0] <= moment:
            position += 1
        numbers.append(changes[position - 1][1] if position > 0 else 0)
    return numbers


def check(programs: Path) -> bool:
    """Whether real servers did what the simulation says, within what two busy cores make of times."""
    source = random.Random(5)
    sessions: list[Session] = []
    begin = 0.0
    while (begin := begin + source.expovariate(CHECK_LIVE / CHECK_MEAN)) < CHECK_END:
        sessions.append(Session(begin, min(source.expovariate(1 / CHECK_MEAN), 60.0)))
    loss = Loss(CHECK_END / 2, 0, CHECK_END)
    fleet = Fleet(CHECK_SERVERS, CHECK_PLACES, keep_live=True)
    simulated = fleet.run(sessions, [loss], CHECK_END)
    with tempfile.TemporaryDirectory(prefix="leapstream-fleet-") as name:
        folder = Path(name)
        (folder / "key").write_text("0123456789abcdef" * 4 + "\n")
        seen = watch(programs, folder, sessions, loss)
    times = [moment for moment, _ in seen.live]
    real = [number for _, number in seen.live]
    model = at_times(simulated.live, times)
    apart = sum(abs(a - b) for a, b in zip(real, model, strict=True)) / len(times)
    halves = [[i for i, moment in enumerate(times) if (moment < loss.at) == first] for first in (True, False)]
    print(f"{len(sessions)} sessions of {CHECK_MEAN:g} s on average in {CHECK_END:g} s, on {CHECK_SERVERS} servers of "
          f"{CHECK_PLACES}; one is killed after {loss.at:g} s")
    print("                                   simulated   three servers")
    for title, half in zip(("before", "after"), halves, strict=True):
        print(f"live sessions, mean, {title:<14} {sum(model[i] for i in half) / len(half):>9.1f} "
              f"{sum(real[i] for i in half) / len(half):>15.1f}")
        print(f"live sessions, most, {title:<14} {max(model[i] for i in half):>9} "
              f"{max(real[i] for i in half):>15}")
    print(f"sessions of the server that is lost {simulated.moved:>9} {seen.moved:>15}")
    print(f"given up                            {simulated.given_up:>9} {seen.given_up:>15}")
    print(f"the numbers of live sessions, each half second, are {apart:.2f} apart on average")
    return apart <= 1.5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, help="live sessions of one server, by leapstream load --find")
    parser.add_argument("--live", type=float, help="sessions at once in the busiest hour, on average")
    parser.add_argument("--servers", type=int, help="so many; default: the least that will do")
    parser.add_argument("--minutes", type=float, default=10, help="a session's mean length (10)")
    parser.add_argument("--hours", type=float, default=720, help="between two losses of one server, on average (720)")
    parser.add_argument("--repair", type=float, default=5, help="minutes until a lost server is back (5)")
    parser.add_argument("--simulated", type=float, default=60, help="minutes to simulate (60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="run three real servers beside the simulation")
    parser.add_argument("--programs", type=Path, default=REPOSITORY / "build/bin", metavar="DIRECTORY",
                        help="with --check: leapstream's and leapstream-server's (build/bin)")
    options = parser.parse_args()
    if not options.check and not (options.capacity and options.live and options.capacity > 0 and options.live > 0):
        parser.error("--capacity and --live are needed, both above 0, or --check")
    return options


def main() -> int:
    options = arguments()
    if options.check:
        return 0 if check(options.programs.resolve()) else 1
    servers = options.servers or least_servers(options)
    print(report(options, servers, simulate(options, servers)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
