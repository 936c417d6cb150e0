'use strict';

// Runs beside the page, on the browser's audio thread. It passes on the microphone's sound as 16-bit samples at
// the context's own rate, a fifth of a second at a time, and its level as a number, in dB of full scale, 15 times a
// second. The message 'stop' asks for the samples that are left; a null follows them.

const MAX_SAMPLES = 16000;  // Samples of one message, well below the gateway's limit.

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.min(Math.ceil(sampleRate / 5), MAX_SAMPLES));
    this.count = 0;
    this.energy = this.measured = 0;
    this.port.onmessage = () => {
      this.send();
      this.port.postMessage(null);
    };
  }

  send() {
    if (this.count > 0) this.port.postMessage(this.samples.slice(0, this.count));
    this.count = 0;
  }

  measure(sample) {
    this.energy += sample * sample;
    if (++this.measured < sampleRate / 15) return;
    this.port.postMessage(10 * Math.log10(this.energy / this.measured + 1e-9));
    this.energy = this.measured = 0;
  }

  process([channels]) {
    const frames = channels.length > 0 ? channels[0].length : 0;
    for (let i = 0; i < frames; ++i) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.measure(sum / channels.length);
      this.samples[this.count++] = Math.max(-1, Math.min(1, sum / channels.length)) * 32767;
      if (this.count === this.samples.length) this.send();
    }
    return true;
  }
}

registerProcessor('microphone', Microphone);
