"""Repairs what keeps SimulEval 1.1.1 to 1.1.4 from `--remote-eval` with text; use: --user-dir."""
from typing import Optional

from simuleval.data import segments
from simuleval.evaluator import SentenceLevelEvaluator

# RemoteEvaluator.remote_eval() reads a name that SentenceLevelEvaluator does not have.
SentenceLevelEvaluator.instance_iterator = property(lambda self: self.iterator)
# A TextSegment's language is `typing.Optional[str]` itself, which is not JSON.
segments.TextSegment.tgt_lang = None
segments.TextSegment.__init__.__defaults__ = tuple(
    None if default is Optional[str] else default
    for default in segments.TextSegment.__init__.__defaults__
)
