"""The command line: python3 -m leapstream translate < talk.txt, and models."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import List, Optional, TextIO

from .client import Client, Stream
from .errors import LeapstreamError
from .glossary import read_glossary
from .stable_source import StableSource
from .stream_types import Delta, Interrupted, Policy, Resumed, SegmentCompleted

SENTENCE_ENDS = (".", "?", "!", "。", "？", "！")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m leapstream", description="Uses a leapstream server.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (("translate", "translate standard input while it arrives"), ("models", "list the models")):
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        command.add_argument("--server", default="localhost:50051", metavar="HOST:PORT[,HOST:PORT...]",
                             help="the replicas of a service (localhost:50051)")
        command.add_argument("--tls", action="store_true", help="encrypt, and check the server's certificate")
        command.add_argument("--tls-ca", type=Path, metavar="FILE", help="trust these certificates, not the system's")
        command.add_argument("--token-file", type=Path, metavar="FILE", help="the bearer token")
    translate = commands.choices["translate"]
    translate.add_argument("--model", default="", help="the model; needed where several fit")
    translate.add_argument("--source-lang", default="", metavar="CODE")
    translate.add_argument("--target-lang", default="", metavar="CODE")
    translate.add_argument("--k", type=int, help="wait-k with this k, instead of the model's policy")
    translate.add_argument("--glossary", type=Path, metavar="FILE",
                           help="terms, one a line: source, tab or \" = \", target; a term without a target is not translated")
    translate.add_argument("--keep-markup", action="store_true",
                           help="tags, placeholders, addresses and numbers stand in the target as they are")
    how = translate.add_mutually_exclusive_group()
    how.add_argument("--sentences", action="store_true",
                     help="the server cuts running text into sentences, each a line of output; else a line is a segment")
    how.add_argument("--hypotheses", action="store_true",
                     help="the input is that of stable_source.py: a recogniser's, which revises itself")
    return parser


def _client(arguments: argparse.Namespace) -> Client:
    ca = arguments.tls_ca.read_bytes() if arguments.tls_ca else None
    token = arguments.token_file.read_text().strip() if arguments.token_file else None
    return Client(arguments.server, tls=arguments.tls or ca is not None, ca=ca, token=token)


def _send_lines(source: TextIO, stream: Stream, ends: bool) -> None:
    for line in source:
        stream.send(line)
        if ends:
            stream.end_segment()


def _send_hypotheses(source: TextIO, stream: Stream) -> None:
    stable = StableSource()
    for line in source:
        hypothesis = json.loads(line)
        final = hypothesis.get("final", False)
        text = stable.add(hypothesis["text"], final, hypothesis.get("stable_words", 0))
        if text:
            stream.send(text)
            if final and text.rstrip().endswith(SENTENCE_ENDS):
                stream.end_segment()
    rest = stable.finish()
    if rest:
        stream.send(rest)


def _send(source: TextIO, stream: Stream, arguments: argparse.Namespace) -> None:
    try:
        if arguments.hypotheses:
            _send_hypotheses(source, stream)
        else:
            _send_lines(source, stream, ends=not arguments.sentences)
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        print(f"leapstream: the input ends here: {error!r}", file=sys.stderr)
    stream.close()


def _translate(client: Client, arguments: argparse.Namespace) -> None:
    policy = Policy(wait_k={"k": arguments.k}) if arguments.k else Policy()
    glossary = read_glossary(arguments.glossary) if arguments.glossary else None
    with client.stream(model=arguments.model, source_language=arguments.source_lang,
                       target_language=arguments.target_lang, policy=policy, sentences=arguments.sentences,
                       glossary=glossary, keep_markup=arguments.keep_markup) as stream:
        threading.Thread(target=_send, args=(sys.stdin, stream, arguments), daemon=True).start()
        for event in stream:
            if isinstance(event, Delta):
                print(event.text, end="", flush=True)
            elif isinstance(event, SegmentCompleted):
                if event.text or not event.continues:
                    print(flush=True)
            elif isinstance(event, Interrupted):
                print(f"leapstream: lost the server: {event.error}; going on elsewhere", file=sys.stderr)
            elif isinstance(event, Resumed):
                print(f"leapstream: going on after {event.gap:.2f} s; nothing was lost", file=sys.stderr)


def _models(client: Client) -> None:
    for model in client.models():
        kind = "speech" if model.speech else "text"
        print(f"{model.name}\t{','.join(model.source_language_codes)}\t{','.join(model.target_language_codes)}\t{kind}\t"
              f"{model.compute_type}\t{','.join(model.policies)}")


def main(arguments: Optional[List[str]] = None) -> int:
    given = _arguments().parse_args(arguments)
    try:
        with _client(given) as client:
            if given.command == "models":
                _models(client)
            else:
                _translate(client, given)
    except (LeapstreamError, ValueError, OSError) as error:
        print(f"leapstream: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
