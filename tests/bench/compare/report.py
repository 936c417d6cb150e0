"""Tables of the results, as text or Markdown."""

import dataclasses
import statistics

from compare.step_bench import Step

AGENT, CTRANSLATE2, ENCODER_ONLY, LIBTORCH = "agent", "ctranslate2", "ctranslate2-no-prefix", "libtorch"
TITLES = {"float32": "leapstream float32", "int8": "leapstream int8", LIBTORCH: "plain LibTorch step",
          AGENT: "reference agent", CTRANSLATE2: "CTranslate2 int8",
          ENCODER_ONLY: "CTranslate2 int8, target prefix left out"}

# CPU seconds of a READ and a WRITE of one session, one value for each round.
Results = dict[Step, list[float]]


def _times(results: Results, step: Step) -> list[float] | None:
    """Times of a step. Plain LibTorch's may be of another position: its states are as large at each."""
    alike = [other for other in results if step.engine == LIBTORCH == other.engine and step.sessions == other.sessions]
    return next((results[found] for found in [step, *alike] if found in results), None)


@dataclasses.dataclass(frozen=True)
class Goal:
    """A ratio of two times, and its least wanted value."""

    what: str
    of: Step  # The numerator: as a rule, the slower one.
    over: Step
    wanted: float | None = None

    def measured(self, results: Results) -> float | None:
        """The median of the rounds' ratios: both times of one ratio are from the same minute."""
        of, over = _times(results, self.of), _times(results, self.over)
        if of is None or over is None:
            return None
        return statistics.median(a / b for a, b in zip(of, over, strict=True))

    def row(self, results: Results, floors: Results) -> list[str]:
        measured = self.measured(results)
        best = self.measured(results | {self.over: floors[self.over]}) if self.over in floors else None
        at_floor = "" if best is None else f"{best:.1f}"
        wanted = "" if self.wanted is None else f"≥ {self.wanted:g}"
        if measured is None:
            return [self.what, "not measured", wanted, "", at_floor]
        reached = "" if self.wanted is None else "yes" if measured >= self.wanted else "no"
        return [self.what, f"{measured:.1f}", wanted, reached, at_floor]


def goals() -> list[Goal]:
    """All goals, in the order of the table; those without a wanted value are for the reader."""
    rows = []
    for source, wanted in ((32, {"float32": 4, "int8": 15}), (512, {"float32": 20, "int8": 80})):
        for kind, ratio in wanted.items():
            rows.append(Goal(f"1 session, {kind}: time against the reference agent, {source} source tokens",
                             Step(1, source, AGENT), Step(1, source, kind), ratio))
    for kind, ratio in {"float32": 40, "int8": 100}.items():
        rows.append(Goal(f"32 sessions, {kind}: pairs/s and core against an agent process, 32 source tokens",
                         Step(1, 32, AGENT), Step(32, 32, kind), ratio))
    for kind, ratio in {"float32": 3, "int8": 8}.items():
        rows.append(Goal(f"32 sessions, {kind}: tokens/s against plain LibTorch", Step(32, 100, LIBTORCH),
                         Step(32, 100, kind), ratio))
    rows.append(Goal("float32: tokens/s of 32 sessions over 1", Step(1, 100, "float32"), Step(32, 100, "float32"), 6))
    rows.append(Goal("1 session: int8 over float32", Step(1, 100, "float32"), Step(1, 100, "int8"), 3))
    for sessions, source in ((1, 32), (1, 512), (32, 32)):
        for engine in (CTRANSLATE2, ENCODER_ONLY):
            rows.append(Goal(f"{_sessions(sessions)}, int8: time against {TITLES[engine]}, {source} source tokens",
                             Step(sessions, source, engine), Step(sessions, source, "int8")))
    return rows


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"


def time_rows(results: Results) -> list[list[str]]:
    order = list(TITLES)
    rows = []
    for step in sorted(results, key=lambda s: (s.sessions, s.position, order.index(s.engine))):
        times = results[step]
        median = statistics.median(times)
        rows.append([TITLES[step.engine], str(step.sessions), f"{step.position:,}", f"{median * 1e3:,.2f}",
                     f"{min(times) * 1e3:,.2f} to {max(times) * 1e3:,.2f}", f"{1 / median:,.1f}"])
    return rows


GOAL_HEADER = ["measure", "measured", "wanted", "reached", "at the floor"]
TIME_HEADER = ["engine", "sessions", "position", "ms per READ + WRITE of a session", "spread", "pairs/s"]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)


def text(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells)

    return "\n".join([line(header), "  ".join("-" * width for width in widths)] + [line(row) for row in rows])


def table(header: list[str], rows: list[list[str]], as_markdown: bool) -> str:
    return markdown(header, rows) if as_markdown else text(header, rows)


def report(results: Results, floors: Results, conditions: list[str], as_markdown: bool) -> str:
    facts = "\n".join(("- " if as_markdown else "") + line for line in conditions)
    parts = [facts, table(TIME_HEADER, time_rows(results), as_markdown)]
    if any(step.engine in ("float32", "int8") for step in results):
        parts.insert(1, table(GOAL_HEADER, [goal.row(results, floors) for goal in goals()], as_markdown))
    return "\n\n".join(parts)
