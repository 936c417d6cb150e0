"""A SimulEval 1.1 agent that translates with a leapstream server (wait-k; an early </s> stops).

    pip install simuleval grpcio grpcio-tools
    simuleval --agent client/examples/simuleval_agent.py --server localhost:50051 --k 3 \
        --source test.en --target test.de --output out

For a target without spaces add --eval-latency-unit char --sacrebleu-tokenizer zh.
"""
import pathlib
import queue
import sys

import grpc
from simuleval.agents import TextToTextAgent
from simuleval.agents.actions import ReadAction, WriteAction
from simuleval.utils import entrypoint

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "proto"))
pb, service = grpc.protos_and_services("leapstream/v1/simultaneous_translation.proto")


@entrypoint
class LeapstreamAgent(TextToTextAgent):
    @staticmethod
    def add_args(parser):
        parser.add_argument("--server", default="localhost:50051", help="host:port")
        parser.add_argument("--k", type=int, default=3, help="source pieces to read ahead")

    def __init__(self, args):
        local = args.server.startswith(("localhost:", "127.", "[::1]:", "unix:"))
        options = [("grpc.enable_http_proxy", 0)] if local else []  # No proxy reaches loopback.
        self.stub = service.SimultaneousTranslationServiceStub(grpc.insecure_channel(args.server, options))
        self.pieces_of, self.requests = {}, None
        super().__init__(args)

    def reset(self):
        super().reset()
        if self.requests:
            self.requests.put(None)
        self.requests = queue.SimpleQueue()
        policy = pb.DecodingPolicy(wait_k=pb.WaitK(k=self.args.k), early_end=pb.EARLY_END_STOP)
        # Gives an event for each token, also for one without text.
        output = pb.OutputOptions(token_details=True)
        self.send(config=pb.SessionConfig(policy=policy, output=output))
        self.events = self.stub.StreamTranslate(iter(self.requests.get, None))
        self.sent, self.pieces, self.read, self.text = 0, 0, 0, ""

    def send(self, **event):
        self.requests.put(pb.StreamTranslateRequest(**event))

    def count(self, word):  # Source pieces of a word, from the figures of its own translation.
        if word not in self.pieces_of:
            answer = self.stub.Translate(pb.TranslateRequest(text=word))
            self.pieces_of[word] = max(answer.stats.source_tokens - 1, 0)  # The figure includes </s>.
        return self.pieces_of[word]

    def policy(self):
        for word in self.states.source[self.sent:]:
            self.pieces += self.count(word)
            self.send(source=pb.SourceChunk(text=word + " "))
        self.sent = len(self.states.source)
        if self.states.source_finished:
            self.send(end_segment=pb.EndSegment())
        # The next token needs one piece more than the last one, and at least k.
        while self.states.source_finished or max(self.args.k, self.read + 1) <= self.pieces:
            event = next(self.events)
            pieces = "".join(" " + token.piece for token in event.target.tokens)
            self.text += pieces if self.args.eval_latency_unit == "spm" else event.target.text
            self.read = event.target.source_tokens_read or self.read
            if event.HasField("segment_completed"):
                return WriteAction(self.text, finished=True)
        words, _, rest = self.text.rpartition(" ")  # The last word may go on.
        if self.args.eval_latency_unit != "word":  # Characters and pieces are complete.
            words, rest = self.text, ""
        self.text = rest
        return WriteAction(words, finished=False) if words else ReadAction()
