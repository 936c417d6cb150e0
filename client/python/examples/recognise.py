#!/usr/bin/env python3
"""Recognises English speech with PocketSphinx, whose package has a small model, and prints its hypotheses.

usage: recognise.py < AUDIO | leapstream translate --hypotheses json --segment pause
AUDIO is mono, 16 kHz, 16-bit little-endian samples. `pip install pocketsphinx` is all that it needs.
"""
import json, sys
import pocketsphinx

EVERY = 10  # Frames of 30 ms between hypotheses.


def say(**hypothesis):
    print(json.dumps(hypothesis), flush=True)


endpointer = pocketsphinx.Endpointer()  # Finds the pauses; an utterance is what is said between two.
decoder = pocketsphinx.Decoder(samprate=endpointer.sample_rate, loglevel="ERROR")
frames, last, speaking, over = 0, "", False, False
while not over:
    frame = sys.stdin.buffer.read(endpointer.frame_bytes)
    over = len(frame) < endpointer.frame_bytes
    speech = endpointer.end_stream(frame or bytes(2)) if over else endpointer.process(frame)
    if speech is not None:
        if not speaking:
            decoder.start_utt()
            speaking, frames, last = True, 0, ""
        decoder.process_raw(speech)
        frames += 1
    if speaking and not endpointer.in_speech:
        decoder.end_utt()
        speaking = False
        text = decoder.hyp().hypstr if decoder.hyp() else ""
        say(text=text, final=True, start=round(endpointer.speech_start, 2), end=round(endpointer.speech_end, 2))
    elif speaking and frames % EVERY == 0:
        text = decoder.hyp().hypstr if decoder.hyp() else ""
        if text != last:
            say(text=text, start=round(endpointer.speech_start, 2))
        last = text
