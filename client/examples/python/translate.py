#!/usr/bin/env python3
"""Translates standard input, a segment per line, and goes on at the next server when one is lost.

usage: translate.py HOST:PORT[,HOST:PORT...] [--hypotheses] < talk.txt
With --hypotheses the input is that of stable_source.py, and a segment ends where a sentence and an utterance do.
Needs grpcio and the generated modules; docs/protocol.md says how to make them, and explains each step.
"""
import json, random, sys, threading, time
import grpc
from google.rpc import error_details_pb2, status_pb2
from stable_source import StableSource
from leapstream.v1 import simultaneous_translation_pb2 as pb, simultaneous_translation_pb2_grpc as rpc

GIVE_UP_AFTER = 60  # Most seconds without a server.
MAX_FUTILE = 5      # Most calls in a row that bring nothing although somebody answers.

def channel(address):
    # Calls take turns at all addresses of a name; gRPC looks for a new one when one is lost.
    options = [("grpc.lb_policy_name", "round_robin"), ("grpc.dns_min_time_between_resolutions_ms", 1000)]
    if address.startswith(("localhost:", "127.", "[::1]:", "unix:")):
        options.append(("grpc.enable_http_proxy", 0))  # No proxy reaches this machine's loopback.
    return grpc.insecure_channel(address, options)

class Session:
    def __init__(self, addresses):
        self.stubs = [rpc.SimultaneousTranslationServiceStub(channel(a)) for a in addresses]
        self.changed, self.call_number = threading.Condition(), 0
        self.chunks, self.closed = [], False            # The source: (text, whether it ends its segment).
        self.begins = [0]                               # Segment i + 1 begins with chunks[begins[i]].
        self.id, self.completed, self.tokens = "", 0, []   # `tokens`: the open segment's target tokens that came.
        self.token, self.next_token = b"", b""          # Resume tokens of the open segment and of the next one.

    def add_source(self, text, ends):
        with self.changed:
            if text or len(self.chunks) > self.begins[-1] or not HYPOTHESES:
                self.chunks.append((text, ends))
                self.begins += [len(self.chunks)] if ends else []
                self.changed.notify_all()

    def read_source(self):
        source = StableSource()
        for line in sys.stdin:
            if not HYPOTHESES:
                self.add_source(line.strip(), True)
                continue
            hypothesis = json.loads(line)
            final = hypothesis.get("final", False)
            text = source.add(hypothesis["text"], final, hypothesis.get("stable_words", 0))
            if text:
                self.add_source(text, final and text.rstrip().endswith((".", "?", "!", "。", "？", "！")))
        if HYPOTHESES:
            self.add_source(source.finish(), True)
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def requests(self, number):  # All source of one call, from the open segment on. Its end is the half-close.
        config = pb.SessionConfig(output=pb.OutputOptions(token_details=True))
        sent = self.begins[self.completed]
        if self.token:
            config.resume.CopyFrom(pb.ResumeRequest(
                session_id=self.id, resume_token=self.token, next_source_sequence=sent + 1,
                committed_target=pb.TokenIdList(ids=[token.id for token in self.tokens]),
                committed_source_tokens_read=[token.source_tokens_read for token in self.tokens]))
        yield pb.StreamTranslateRequest(config=config)
        while True:
            with self.changed:
                self.changed.wait_for(lambda: sent < len(self.chunks) or self.closed or number != self.call_number)
                if number != self.call_number or sent == len(self.chunks):
                    return
            text, ends = self.chunks[sent]
            sent += 1
            yield pb.StreamTranslateRequest(source=pb.SourceChunk(sequence=sent, text=text))
            if ends:
                yield pb.StreamTranslateRequest(end_segment=pb.EndSegment())

    def receive(self, response):
        event = response.WhichOneof("event")
        self.answered = True
        self.progressed = self.progressed or event in ("target", "segment_completed")
        if event == "started":
            self.id = response.started.session_id
        elif event == "resume_point":
            if response.resume_point.segment == self.completed + 1:
                self.token = response.resume_point.resume_token
            else:  # The next segment's token is of use once the open one has ended.
                self.next_token = response.resume_point.resume_token
        elif event == "target":
            # Text without tokens is the rest of the segment; segment_completed has it, too.
            if response.target.tokens:
                self.tokens += response.target.tokens
                print(response.target.text, end="", file=sys.stderr, flush=True)  # Live.
        elif event == "segment_completed":
            print(response.segment_completed.text, flush=True)
            self.completed, self.tokens, self.token = self.completed + 1, [], self.next_token
        return event == "summary"

    def run(self):
        threading.Thread(target=self.read_source, daemon=True).start()
        turn, failures, futile, lost_at = random.randrange(len(self.stubs)), 0, 0, time.monotonic()
        while True:
            self.answered, self.progressed, began = False, False, time.monotonic()
            try:
                for response in self.stubs[turn % len(self.stubs)].StreamTranslate(self.requests(self.call_number)):
                    failures, lost_at = 0, time.monotonic()
                    if self.receive(response):
                        return
                futile += 1  # The call ended without a summary, as no call of our servers does.
                if futile >= MAX_FUTILE:
                    sys.exit("no leapstream server answers there")
            except grpc.RpcError as error:
                details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
                status, retry = status_pb2.Status.FromString(details), error_details_pb2.RetryInfo()
                info = error_details_pb2.ErrorInfo()
                [detail.Unpack(info) or detail.Unpack(retry) for detail in status.details]
                # A status without our ErrorInfo comes from the connection or a proxy, whatever its code. A server
                # that has not noticed yet that it lost us still counts our session.
                unavailable = grpc.StatusCode.UNAVAILABLE
                passing = (info.domain != "leapstream" or status.code == unavailable.value[0]
                           or (info.reason == "QUOTA_EXCEEDED" and self.id))
                somebody = self.answered or (info.domain != "leapstream" and error.code() != unavailable)
                futile = 0 if self.progressed or time.monotonic() - began > 10 else futile + somebody
                if (not passing or futile >= MAX_FUTILE or time.monotonic() - lost_at > GIVE_UP_AFTER
                        or (self.tokens and not self.token)):
                    raise
                print(f"\nlost the server: {status.message or error.details()}; going on elsewhere", file=sys.stderr)
                turn, failures = turn + 1, failures + 1
                if failures >= len(self.stubs):  # All were asked.
                    time.sleep(max(retry.retry_delay.seconds, min(2, 0.1 * 2 ** failures)) * random.uniform(1, 1.5))
            finally:
                with self.changed:
                    self.call_number += 1  # Ends the requests of this call.
                    self.changed.notify_all()

HYPOTHESES = "--hypotheses" in sys.argv[2:]
Session(sys.argv[1].split(",")).run()
