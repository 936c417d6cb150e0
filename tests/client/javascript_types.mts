// This is compiled, not run: leapstream.d.ts takes what users write, and refuses what they should not.
import {Client, glossaryTerms, LeapstreamError, type Model, type StreamEvent} from '../../client/javascript/leapstream.js';

const client = new Client('http://localhost:8080', {token: 'secret', WebSocket: class {}});
const stream = client.stream({policy: {waitK: {k: 3}}, textSegmentation: 'TEXT_SEGMENTATION_SENTENCES'}, {captions: 'k'});
const number: number = stream.text('Sound can be included in presentations.');
stream.audio(new Int16Array(160));
stream.endSegment();
stream.close();
for await (const event of stream) {
  const {target, segmentCompleted, interrupted}: StreamEvent = event;
  const text: string | undefined = target?.text ?? segmentCompleted?.text;
  if (interrupted) console.error(interrupted.error.status, text);
}
const saved = stream.save();
const again = client.restore(saved, {captions: 'k', keepAliveMs: 1000 * number});
for (const {text, audio, endSegment} of again.untranslated()) {
  if (audio) again.audio(audio);
  else if (endSegment) again.endSegment();
  else again.text(text);
}
client.stream({glossary: {terms: [...glossaryTerms('file = Datei'), {source: 'LibreOffice'}]}, keepMarkup: true});
// @ts-expect-error A term has a source.
client.stream({glossary: {terms: [{target: 'Datei'}]}});
const models: Model[] = await client.models();
const answer = await client.translate('Hello', {beamSearch: {beam: 5, nBest: 2}, model: models[0].name, keepMarkup: false});
const best: unknown = answer.segments?.[0].hypotheses?.[0].score;
if (best instanceof LeapstreamError) throw best;
for await (const event of client.captions('0'.repeat(32))) console.log(event);
// @ts-expect-error There is no such policy.
client.stream({policy: {waitForever: {}}});
// @ts-expect-error Only a client opens streams.
new (await import('../../client/javascript/leapstream.js')).Stream();
