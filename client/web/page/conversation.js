// The conversation of a page, which leapstream.js carries: sessions one after the other, each of which goes on from
// connection to connection. This is a module; the page's other scripts are not, and get what they use from the window.

import {Client, glossaryTerms} from './leapstream.js';

const KEEP_ALIVE_MS = 30 * 60000;  // A session is kept open for so long after its last source.

// Reasons of errors after which a session cannot go on: its source without a translation begins another one.
const LOST_SESSION = ['RESUME_TOKEN_INVALID', 'RESUME_TOKEN_EXPIRED', 'RESUME_MODEL_MISMATCH', 'RESUME_CONFIG_MISMATCH',
                      'RESUME_TARGET_INVALID'];

const client = new Client(new URL('.', location.href));

// `on` hears the events of leapstream.js, and besides {config} of each session that begins, {source}, {endSegment} and
// {heard} of what is sent, and last {ended: {status, reason, message}}. {config, follows: true} says that the session
// before it will still end well; without `follows`, its incomplete segments come again. `captions` is the key of the
// captions. `saved`: what save() returned in a page that is gone.
class Conversation {
  constructor({config, captions = '', on, saved}) {
    this.how = {captions, keepAliveMs: KEEP_ALIVE_MS};
    this.on = on;
    this.over = false;     // {ended} was said.
    this.wanted = null;    // The config of the next session, which begins after the sentence that is open.
    this.later = null;     // The source of the next session, while this one ends: {source, sequence, closed}.
    this.open = '';        // The newest source of the open segment.
    if (saved) {
      const {stream, rate, wanted, later, open} = saved;
      Object.assign(this, {wanted, later, open});
      this.carry(client.restore(stream, this.how), rate);
    } else {
      this.on({config});
      this.begin(config);
    }
  }

  save() {
    const {rate, wanted, later, open} = this;
    return {stream: this.stream.save(), rate, wanted, later, open};
  }

  get closed() { return (this.later || this.stream).closed; }
  get hasOpenSegment() { return this.open !== ''; }
  get atSentenceEnd() { return !this.open || ENDS_SENTENCE.test(this.open); }

  text(text) {
    this.take({text});
    if (this.wanted && !this.later && this.atSentenceEnd) this.drain();
  }

  // `samples`: an Int16Array, as many of them a second as the newest config says.
  audio(samples) {
    this.take({audio: new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)});
  }

  endSegment() {
    this.take({endSegment: true});
    if (this.wanted && !this.later && !this.rate) this.drain();
  }

  // No more source comes; the translation of what was sent still does.
  close() {
    if (this.later) this.later.closed = true;
    else this.stream.close();
  }

  // From the next sentence on, or of speech from the next pause on, `config` holds.
  change(config) {
    this.wanted = config;
    if (!this.later && !this.rate && this.atSentenceEnd) this.drain();
  }

  // From now on `config` holds, even for a conversation that was closed.
  changeNow(config) {
    this.wanted = config;
    if (!this.later) this.drain();
  }

  // Nothing is heard of it any more.
  abandon() {
    this.over = true;
    this.stream.cancel();
  }

  begin(config) {
    this.carry(client.stream({...config, output: {tokenDetails: true, segmentStats: true}}, this.how),
               config.sampleRateHertz || 0);
  }

  // `rate`: of audio; 0: the source is text.
  carry(stream, rate) {
    this.stream = stream;
    this.rate = rate;
    this.listen(stream);
  }

  // Passes source to the session that it is for. Returns the number of its chunk.
  pass(source) {
    if (this.later) {
      this.later.source.push(source);
      if (!source.endSegment) ++this.later.sequence;
      return this.later.sequence;
    }
    if (source.endSegment) return this.stream.endSegment();
    return source.audio ? this.stream.audio(source.audio) : this.stream.text(source.text);
  }

  take(source) {
    const sequence = this.pass(source), {text, audio} = source;
    if (audio) {
      const rate = this.later ? this.wanted.sampleRateHertz : this.rate;
      this.open = 'sound';
      this.on({heard: {sequence, duration: `${audio.length / 2 / rate}s`}});
    } else {
      this.open = text || '';
      this.on(text ? {source: {sequence, text}} : {endSegment: {}});
    }
  }

  // Ends the session. More source waits for the next one.
  drain() {
    this.stream.close();
    this.queue({config: this.wanted});
  }

  queue({config, source = [], closed = false}) {
    this.later = {source: [], sequence: 0, closed};
    this.open = '';
    this.on({config, follows: true});
    for (const each of source) this.take(each);
  }

  // The session has ended, and the next one begins.
  follow() {
    const {source, closed} = this.later, config = this.wanted;
    this.later = this.wanted = null;
    this.begin(config);
    for (const each of source) this.pass(each);
    if (closed) this.stream.close();
  }

  // The session is lost, or ends here: what it has not translated begins another one.
  restart(config) {
    const {stream, later, wanted} = this;
    this.later = this.wanted = null;
    this.open = '';
    this.on({config});
    this.begin(config);
    for (const each of stream.untranslated()) this.take(each);
    if (stream.closed) this.stream.close();
    if (later) {
      this.wanted = wanted;
      this.queue({config: wanted, ...later});
    } else if (wanted !== config) {
      this.wanted = wanted;
    }
    stream.cancel();
  }

  // The page may be saved between any two events, so each is heard as soon as it is there.
  async listen(stream) {
    const events = stream[Symbol.asyncIterator]();
    for (;;) {
      let next, error = null;
      try {
        next = await events.next();
      } catch (reason) {
        error = reason;
      }
      if (stream !== this.stream || this.over) return;
      if (error || next.done) return this.ended(error);
      this.on(next.value);
      // A pause is over: with what was heard since, another session begins.
      if (next.value.segmentCompleted && this.rate && this.wanted && !this.later) return this.restart(this.wanted);
    }
  }

  ended(error) {
    if (!error && this.later) return this.follow();
    if (error && this.stream.id && LOST_SESSION.includes(error.reason)) return this.restart(this.stream.config);
    this.over = true;
    const {status, reason, message} = error || {status: 'OK', reason: '', message: ''};
    this.on({ended: {status, reason, message}});
  }
}

// Reads captions from their beginning, and goes on after a break. `on` hears the events of their sessions, {waiting}
// while there are no such captions, and {refused: {message}}; every few seconds it then asks again.
async function watchCaptions(id, on) {
  for (;;) {
    try {
      for await (const event of client.captions(id)) on(event.interrupted ? {refused: event.interrupted.error} : event);
    } catch (error) {
      on(error.status === 'NOT_FOUND' ? {waiting: {}} : {refused: error});
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}

Object.assign(window, {Conversation, client, glossaryTerms, watchCaptions});
