'use strict';

// Sessions of the server's WebSocket /v1/stream; docs/http.md describes it, docs/protocol.md the messages. A Stream
// outlives its connections: when one breaks it says to the next what it has, and nothing is lost.

const GIVE_UP_MS = 60000;         // The longest time without a server.
const LONGEST_PAUSE_MS = 2000;    // Between two attempts.
const KEPT_ALIVE_MS = 30 * 60000; // A session is kept open for so long after its last source.
const RETRIED = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'];  // Codes of errors after which a session may go on elsewhere.

// Reasons of errors after which a session cannot go on: its source without a translation begins another one.
const LOST_SESSION = ['RESUME_TOKEN_INVALID', 'RESUME_TOKEN_EXPIRED', 'RESUME_MODEL_MISMATCH', 'RESUME_CONFIG_MISMATCH',
                      'RESUME_TARGET_INVALID'];
const ENDS_SENTENCE = /[.!?…。！？؟۔।]["'”’»)\]」』]*\s*$/u;

// The source of a session from its first incomplete segment on, which has to be sent again when a connection breaks.
// `samples` keeps audio for a page that comes after this one: put(samples) returns a number for get(number) and
// drop(number).
class SourceLog {
  constructor(samples, saved) {
    this.samples = samples;
    // {chunks: [{sequence, text} or {sequence, kept, audio}], ended, complete, dropped}; all but the last are ended.
    this.segments = [];
    this.sequence = 0;
    this.closed = false;  // No more source comes.
    if (!saved) return;
    Object.assign(this, saved);
    for (const {chunks} of this.segments) {
      for (const chunk of chunks) if (chunk.kept) chunk.audio = samples.get(chunk.kept);
    }
  }

  save() {
    const segments = this.segments.map((segment) => (
      {...segment, chunks: segment.chunks.map(({sequence, text, kept}) => ({sequence, text, kept}))}));
    return {segments, sequence: this.sequence, closed: this.closed};
  }

  open() {
    const last = this.segments[this.segments.length - 1];
    if (last && !last.ended) return last;
    const segment = {chunks: [], ended: false, complete: false, dropped: false};
    this.segments.push(segment);
    return segment;
  }

  get hasOpenSegment() {
    const last = this.segments[this.segments.length - 1];
    return last !== undefined && !last.ended;
  }

  // Whether nothing was written since a sentence ended.
  get atSentenceEnd() {
    const last = this.segments[this.segments.length - 1];
    const chunk = last && last.chunks[last.chunks.length - 1];
    return !chunk || last.ended || ENDS_SENTENCE.test(chunk.text || '');
  }

  // Returns what is to be sent; null: nothing is.
  append(source) {
    const segment = this.open();
    if (segment.dropped) return null;
    const chunk = {sequence: ++this.sequence};
    if (typeof source === 'string') chunk.text = source;
    else Object.assign(chunk, {audio: source, kept: this.samples.put(source)});
    segment.chunks.push(chunk);
    return SourceLog.message(chunk);
  }

  static message({text, audio}) {
    return text === undefined ? audio : JSON.stringify({source: {text}});
  }

  endSegment() {
    const segment = this.open();
    segment.ended = true;
    this.forget();
    return segment.dropped ? null : '{"endSegment":{}}';
  }

  // The first incomplete segment is complete.
  complete() {
    const first = this.segments.find((segment) => !segment.complete);
    if (!first) return;
    first.complete = true;
    this.drop(first, () => true);
    this.forget();
  }

  // The server needs the chunks up to this one no longer: those of the first incomplete segment, or of all of them.
  consume(sequence, all) {
    for (const segment of this.segments) {
      if (segment.complete) continue;
      this.drop(segment, (chunk) => chunk.sequence <= sequence);
      if (!all) break;
      if (segment.chunks.length > 0 || !segment.ended) break;
      segment.complete = true;
    }
    this.forget();
  }

  drop(segment, which) {
    for (const chunk of segment.chunks) if (which(chunk) && chunk.kept) this.samples.drop(chunk.kept);
    segment.chunks = segment.chunks.filter((chunk) => !which(chunk));
  }

  forget() {
    while (this.segments.length > 0 && this.segments[0].complete && this.segments[0].ended) this.segments.shift();
  }

  // Begins again. Returns the number of the first chunk, and all that is to be sent.
  rewind() {
    const messages = [];
    let first = this.sequence + 1;
    for (const segment of this.segments) {
      if (segment.complete) {
        segment.dropped = true;
        continue;
      }
      for (const chunk of segment.chunks) {
        first = Math.min(first, chunk.sequence);
        messages.push(SourceLog.message(chunk));
      }
      if (segment.ended) messages.push('{"endSegment":{}}');
    }
    return {first, messages};
  }

  // Numbers the chunks that are left from 1 on, for another session.
  renumber() {
    this.segments = this.segments.filter((segment) => !segment.complete);
    this.sequence = 0;
    for (const {chunks} of this.segments) for (const chunk of chunks) chunk.sequence = ++this.sequence;
  }
}

// Sessions one after the other, of which each goes on from connection to connection. `on` hears the answers of the
// server as they are, but for those that only a resume needs, and besides {config} of each session that begins,
// {source}, {endSegment} and {heard} of what is sent, {segmentBegins}, {interrupted}, {resumed}, and last
// {ended: {status, message}}. {config, follows: true} says that the session before it will still end well; without
// `follows`, its incomplete segments come again. `saved`: what save() returned in a page that is gone.
class Stream {
  constructor({url, config, on, samples, saved}) {
    this.url = url;
    this.on = on;
    this.samples = samples;
    this.over = false;         // {ended} was said.
    this.lostSince = 0;
    this.attempts = 0;
    this.idle = false;         // The server has ended an idle connection; more source opens another one.
    this.rest = null;          // A target without tokens: only the end of its segment makes it certain.
    this.next = null;          // The resume point of the next segment.
    this.lastSource = Date.now();
    this.wanted = null;        // The config of the next session, which begins after the sentence that is open.
    this.later = null;         // The source of the next session, while this one ends.
    if (saved) {
      this.log = new SourceLog(samples, saved.log);
      this.later = saved.later && new SourceLog(samples, saved.later);
      const {config: known, rate, wanted, id, segment, ids, reads, token} = saved;
      Object.assign(this, {config: known, rate, wanted, id, segment, ids, reads, token});
      if (!token) this.id = '';  // A session without a token has given no text, and begins again.
      this.connect();
    } else {
      this.log = new SourceLog(samples);
      this.on({config});
      this.begin(config);
    }
  }

  save() {
    const {config, rate, wanted, id, segment, ids, reads, token} = this;
    return {config, rate, wanted, id, segment, ids, reads, token, log: this.log.save(),
            later: this.later && this.later.save()};
  }

  // Begins a session with the source that is in the log.
  begin(config) {
    this.config = {...config, output: {tokenDetails: true, segmentStats: true}};
    this.rate = config.sampleRateHertz || 0;  // Of audio; 0: the source is text.
    this.id = '';              // That of the session; empty: no server has begun it.
    this.segment = 1;          // The open segment, its tokens, and its token for a resume.
    this.ids = [];
    this.reads = [];
    this.token = '';
    this.next = this.rest = null;
    this.connect();
  }

  get newest() { return this.later || this.log; }
  get closed() { return this.newest.closed; }
  get hasOpenSegment() { return this.newest.hasOpenSegment; }

  text(text) {
    const data = this.newest.append(text);
    this.on({source: {sequence: this.newest.sequence, text}});
    this.send(data);
    if (this.wanted && !this.later && this.log.atSentenceEnd) this.drain();
  }

  // `samples`: an Int16Array, as many of them a second as the newest config says.
  audio(samples) {
    const data = this.newest.append(samples);
    const rate = this.later ? this.wanted.sampleRateHertz : this.rate;
    this.on({heard: {sequence: this.newest.sequence, duration: `${samples.length / rate}s`}});
    this.send(data);
  }

  endSegment() {
    this.on({endSegment: {}});
    this.send(this.newest.endSegment());
    if (this.wanted && !this.later && !this.rate) this.drain();
  }

  // No more source comes; the translation of what was sent still does.
  close() {
    if (this.closed) return;
    this.newest.closed = true;
    this.send('{"endSession":{}}');
  }

  // From the next sentence on, or of speech from the next pause on, `config` holds.
  change(config) {
    this.wanted = config;
    if (!this.later && !this.rate && this.log.atSentenceEnd) this.drain();
  }

  // From now on `config` holds, even for a stream that was closed.
  changeNow(config) {
    this.wanted = config;
    if (!this.later) this.drain();
  }

  // Ends the session. More source waits for the next one.
  drain() {
    const told = this.log.closed;
    if (!told) this.send('{"endSession":{}}');
    this.log.closed = true;
    this.later = new SourceLog(this.samples);
    this.on({config: this.wanted, follows: true});
    if (this.idle) this.follow();
  }

  // The next session begins; the one before has ended.
  follow() {
    this.log = this.later;
    this.later = null;
    this.startOver(this.wanted);
  }

  // The session is lost, or ends here: what it has not translated begins another one.
  restart(config) {
    this.log.renumber();
    this.on({config});
    this.tell(this.log, config.sampleRateHertz);
    if (this.later) {
      this.on({config: this.wanted, follows: true});
      this.tell(this.later, this.wanted.sampleRateHertz);
    }
    this.startOver(config);
  }

  // Says again what is in a log.
  tell(log, rate) {
    for (const {chunks, ended} of log.segments) {
      for (const {sequence, text, audio} of chunks) {
        this.on(text === undefined ? {heard: {sequence, duration: `${audio.length / rate}s`}} : {source: {sequence, text}});
      }
      if (ended) this.on({endSegment: {}});
    }
  }

  startOver(config) {
    clearInterval(this.alive);
    if (!this.later) this.wanted = null;
    const {socket} = this;
    this.begin(config);
    if (socket) socket.close();
  }

  send(data) {
    this.lastSource = Date.now();
    if (data === null || this.over || this.later) return;
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
    else if (this.idle) this.connect();
  }

  connect() {
    this.idle = false;
    this.error = this.summary = null;
    const socket = this.socket = new WebSocket(this.url, 'leapstream.v1');
    socket.onopen = () => this.greet(socket);
    socket.onmessage = (message) => {
      if (socket === this.socket && !this.over) this.take(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket === this.socket && !this.over) this.lost();
    };
  }

  greet(socket) {
    if (socket !== this.socket) return;
    const config = {...this.config};
    const {first, messages} = this.log.rewind();
    if (this.token) {
      config.resume = {sessionId: this.id, resumeToken: this.token, committedTarget: {ids: this.ids},
                       committedSourceTokensRead: this.reads, nextSourceSequence: `${first}`};
    }
    socket.send(JSON.stringify({config}));
    for (const message of messages) socket.send(message);
    if (this.log.closed) socket.send('{"endSession":{}}');
  }

  take(event) {
    if (event.started) {
      this.start(event);
    } else if (event.target) {
      this.target(event);
    } else if (event.resumePoint) {
      this.point(event.resumePoint);
    } else if (event.segmentCompleted) {
      this.complete(event);
    } else if (event.error) {
      this.error = event.error;
    } else if (!event.heartbeat) {
      if (event.summary) this.summary = event.summary;
      this.on(event);
    }
  }

  start(event) {
    const {sessionId, effectiveConfig, limits} = event.started;
    const first = !this.id;
    this.id = sessionId;
    if (first) this.config = {...effectiveConfig, output: this.config.output};
    this.lostSince = this.attempts = 0;
    clearInterval(this.alive);
    const idle = 1000 * parseFloat((limits || {}).idleTimeout || '0');
    if (idle > 0) this.alive = setInterval(() => this.keepAlive(), idle / 3);
    this.on(first ? event : {resumed: {}});
  }

  keepAlive() {
    if (this.socket.readyState !== WebSocket.OPEN || this.log.closed) return;
    if (Date.now() - this.lastSource < KEPT_ALIVE_MS) this.socket.send('{"keepAlive":{}}');
  }

  target(event) {
    const tokens = event.target.tokens || [];
    if (tokens.length === 0 && this.token) {
      this.rest = event;
      return;
    }
    for (const token of tokens) {
      this.ids.push(token.id || 0);
      this.reads.push(token.sourceTokensRead || 0);
    }
    this.on(event);
  }

  get byPauses() {
    return parseFloat((this.config.pauseDetection || {}).minDuration || '0') > 0;
  }

  point({segment, resumeToken, consumedSourceSequence}) {
    const consumed = Number(consumedSourceSequence || 0);
    if (Number(segment) === this.segment) {
      this.token = resumeToken;
      if (this.byPauses) this.log.consume(consumed, true);
    } else if (Number(segment) === this.segment + 1) {
      this.next = {token: resumeToken, consumed};
      this.on({segmentBegins: {segment, afterSequence: consumed}});
    }
  }

  complete(event) {
    if (this.rest) this.on(this.rest);
    if (event.segmentCompleted.continues) {
      if (this.next) this.log.consume(this.next.consumed, false);
    } else if (!this.byPauses) {
      this.log.complete();
    } else if (this.next) {
      this.log.consume(this.next.consumed, true);
    }
    ++this.segment;
    this.token = this.next ? this.next.token : '';
    this.next = this.rest = null;
    this.ids = [];
    this.reads = [];
    this.on(event);
    // A pause is over: with what was heard since, another session begins.
    if (this.wanted && !this.later && this.byPauses) this.restart(this.wanted);
  }

  // The connection is over.
  lost() {
    clearInterval(this.alive);
    this.rest = this.next = null;
    const {error} = this;
    if (!error && this.summary) return this.later ? this.follow() : this.end('OK', '');
    if (error && error.reason === 'IDLE_TIMEOUT' && this.token && !this.log.closed) {
      this.idle = true;
      return;
    }
    if (error && this.id && LOST_SESSION.includes(error.reason)) return this.restart(this.config);
    const now = Date.now();
    if (!this.lostSince) {
      this.lostSince = now;
      if (!error || this.id) this.on({interrupted: {message: error ? error.message : 'the connection broke'}});
    }
    // An error without a reason is no server's: something on the way broke the connection.
    const again = !error || !error.reason || (this.id && RETRIED.includes(error.status));
    if (!again || (this.id && !this.token) || now - this.lostSince > GIVE_UP_MS) {
      return this.end(error ? error.status : 'UNAVAILABLE',
                      error ? error.message : 'no server answered; start again later');
    }
    const pause = this.attempts === 0 ? 0 : Math.min(LONGEST_PAUSE_MS, 100 * 2 ** this.attempts);
    const least = error && error.retryDelay && this.attempts > 0 ? 1000 * parseFloat(error.retryDelay) : 0;
    ++this.attempts;
    setTimeout(() => this.connect(), Math.max(least, pause * (0.5 + Math.random() / 2)));
  }

  // Nothing is heard of it any more.
  abandon() {
    this.over = true;
    clearInterval(this.alive);
    if (this.socket) this.socket.close();
  }

  end(status, message) {
    this.over = true;
    this.on({ended: {status, message}});
  }
}

// Reads captions from their beginning, and goes on after a break. `on` hears the events of their sessions, {waiting}
// while there are no such captions, and {refused: {message}}; every few seconds it then asks again.
function watchCaptions(url, on) {
  let last = -1;
  const connect = () => {
    let refused = null;
    const socket = new WebSocket(last < 0 ? url : `${url}?after=${last}`, 'leapstream.v1');
    socket.onmessage = (message) => {
      const {number, event, error} = JSON.parse(message.data);
      if (error) refused = error;
      if (!event) return;  // A heartbeat.
      last = number;
      on(event);
    };
    socket.onclose = () => {
      if (refused && refused.status === 'NOT_FOUND') {
        last = -1;
        on({waiting: {}});
      } else if (refused) {
        on({refused});
      }
      setTimeout(connect, refused ? 3000 : 1000);
    };
  };
  connect();
}
