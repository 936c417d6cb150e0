#include "client/evaluation/evaluate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/evaluation/audio_file.h"
#include "metrics/unicode.h"
#include "metrics/word_timing.h"

namespace leapstream::client {
namespace {

// The length of a reference by SimulEval: in words len(reference.split(" ")), in characters
// len(reference.strip()), spaces within included. It is 0 in pieces, which the server counts.
int SimulEvalLength(const std::string& reference, LatencyUnit unit) {
  switch (unit) {
    case LatencyUnit::kWord:
      return 1 + static_cast<int>(std::count(reference.begin(), reference.end(), ' '));
    case LatencyUnit::kChar:
      return static_cast<int>(metrics::Characters(metrics::StripSpace(reference)).size());
    case LatencyUnit::kSpm:
      break;
  }
  return 0;
}

std::vector<std::string> WordsOf(const std::string& text) {
  std::vector<std::string> words;
  for (const absl::string_view word : metrics::SplitWords(text)) words.emplace_back(word);
  return words;
}

// One source: how it is sent, and what it counts in the units of the figures.
struct Source {
  LatencyUnit unit = LatencyUnit::kWord;
  StreamOptions stream;
  Instance instance;  // Everything but the prediction and the measurements.
  std::function<absl::Status(Stream& stream)> send;
  // The delay in words and in pieces for what had been read: source tokens, and of speech ms of
  // audio.
  std::function<double(int tokens, double audio_ms)> word_delay, piece_delay;
  double words_per_second = 0, pieces_per_second = 0;  // Delay that a second of computation counts.
};

// A server that does not know a policy takes its own: the scores would be of that.
absl::Status CheckApplied(const Policy& asked, const Policy& applied) {
  if (std::holds_alternative<std::monostate>(asked.rule) ||
      asked.rule.index() == applied.rule.index()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("want a server that knows the policy ", RuleName(asked.rule),
                   ", got one that took ", ToText(applied),
                   " instead; use one that is not older than this client"));
}

absl::StatusOr<Instance> TranslateOne(Client& client, Source source) {
  Instance instance = std::move(source.instance);
  source.stream.token_details = true;
  source.stream.segment_stats = true;
  const std::unique_ptr<Stream> stream = client.StartStream(source.stream);
  // The clock starts when the server is ready, so that a connection's set-up is not counted.
  SteadyTime start = SteadyNow();
  const bool in_words = source.unit == LatencyUnit::kWord;
  const bool in_pieces = source.unit == LatencyUnit::kSpm;
  metrics::TargetWords target(in_words ? metrics::TargetUnit::kWord : metrics::TargetUnit::kChar);
  const auto add_unit = [&](double delay, double seconds) {
    instance.words.delays.push_back(delay);
    instance.words.elapsed.push_back(delay + seconds * source.words_per_second);
  };
  const auto add = [&](const std::vector<metrics::TimedWord>& completed) {
    for (const metrics::TimedWord& word : completed) {
      absl::StrAppend(&instance.prediction, instance.prediction.empty() || !in_words ? "" : " ",
                      word.text);
      add_unit(word.source_read, word.elapsed);
    }
  };
  const auto add_piece = [&](double delay, double seconds) {
    instance.pieces.delays.push_back(delay);
    instance.pieces.elapsed.push_back(delay + seconds * source.pieces_per_second);
  };
  while (const std::optional<Event> event = stream->Next()) {
    const double seconds = absl::ToDoubleSeconds(SteadyNow() - start);
    if (const auto* started = std::get_if<Started>(&*event)) {
      start = SteadyNow();
      LEAPSTREAM_RETURN_IF_ERROR(CheckApplied(source.stream.policy, started->applied.policy));
      LEAPSTREAM_RETURN_IF_ERROR(source.send(*stream));
      LEAPSTREAM_RETURN_IF_ERROR(stream->EndSegment());
      LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
    } else if (const auto* delta = std::get_if<Delta>(&*event)) {
      // A long recording has several segments. A server older than 0.4 gives it but one.
      const double audio_ms =
          delta->audio_offset_ms > 0 ? delta->audio_offset_ms : delta->source_audio_ms;
      for (const Token& token : delta->tokens) {
        add_piece(source.piece_delay(token.source_tokens_read, audio_ms), seconds);
        if (!in_pieces) continue;
        add_unit(source.word_delay(token.source_tokens_read, audio_ms), seconds);
        instance.prediction_pieces.push_back(token.piece);
      }
      if (in_pieces) {
        instance.prediction += delta->text;
        continue;
      }
      add(target.Append(delta->text, source.word_delay(delta->source_tokens_read, audio_ms),
                        seconds));
    } else if (const auto* completed = std::get_if<SegmentCompleted>(&*event)) {
      const SegmentStats stats = completed->stats.value_or(SegmentStats());
      if (completed->reason == FinishReason::kMaxLength) instance.prediction_cut = true;
      if (completed->reason == FinishReason::kSourceLimit && !completed->continues) {
        instance.source_dropped = true;
      }
      instance.encoder_rows += stats.encoder_rows;
      instance.decoder_rows += stats.decoder_rows;
      instance.decoder_steps += stats.decoder_steps;
      instance.target_tokens += stats.target_tokens;
      const double audio_ms =
          completed->audio_end_ms > 0 ? completed->audio_end_ms : stats.source_audio_ms;
      add(target.Finish(source.word_delay(stats.source_tokens, audio_ms), seconds));
      // The last piece is </s>, or the one that the length limit stopped.
      if (stats.source_tokens > 0) {
        add_piece(source.piece_delay(stats.source_tokens, audio_ms), seconds);
      }
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
  if (in_pieces) instance.prediction = std::string(metrics::StripSpace(instance.prediction));
  return instance;
}

absl::StatusOr<Instance> TranslateText(Client& client, PieceCounter& counter,
                                       const std::string& text, const std::string& reference,
                                       const EvaluationOptions& options) {
  const std::vector<std::string> words = WordsOf(text);
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> counts, counter.Count(words));
  const metrics::SourceWordEnds ends(counts);
  Source source;
  source.unit = options.unit;
  source.stream = options.stream;
  Instance& instance = source.instance;
  instance.source = absl::StrJoin(words, " ");
  instance.reference = reference;
  instance.words.source_length = ends.words();
  instance.words.reference_length = SimulEvalLength(reference, options.unit);
  instance.pieces.source_length = words.empty() ? 0 : ends.tokens() + 1;
  if (options.joined_vocabulary) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> reference_counts,
                                counter.Count(WordsOf(reference)));
    const int pieces = metrics::SourceWordEnds(reference_counts).tokens();
    instance.pieces.reference_length = pieces + 1;  // The added piece is </s>.
    if (options.unit == LatencyUnit::kSpm) instance.words.reference_length = pieces;
  }
  source.send = [joined = instance.source](Stream& stream) { return stream.PushText(joined); };
  source.word_delay = [&](int tokens, double) { return ends.WordsRead(tokens); };
  source.piece_delay = [](int tokens, double) { return tokens; };
  source.words_per_second = options.words_per_second;
  if (!words.empty()) {
    source.pieces_per_second = options.words_per_second * ends.tokens() / ends.words();
  }
  return TranslateOne(client, std::move(source));
}

constexpr int kEmptyRate = 16000;  // Any rate that servers take.

absl::StatusOr<Instance> TranslateRecording(Client& client, const std::string& path,
                                            const std::string& reference,
                                            const EvaluationOptions& options) {
  const absl::StatusOr<std::unique_ptr<AudioFile>> file = AudioFile::Open(path);
  // A recording without a sample is scored as SimulEval scores it; the caller of EvaluateSpeech()
  // reports it.
  const bool empty = absl::IsOutOfRange(file.status());
  if (!file.ok() && !empty) return file.status();
  const int rate = empty ? kEmptyRate : (*file)->sample_rate();
  Source source;
  source.unit = options.unit;
  source.stream = options.stream;
  source.stream.audio = AudioFormat::kPcmF32Le;
  source.stream.sample_rate = rate;
  source.stream.pause = absl::ZeroDuration();  // A recording is one segment.
  const double length = empty ? 0 : 1000.0 * static_cast<double>((*file)->samples()) / rate;
  Instance& instance = source.instance;
  instance.speech = true;
  instance.source = path;
  instance.reference = reference;
  instance.words.source_length = instance.pieces.source_length = length;
  instance.words.reference_length = SimulEvalLength(reference, options.unit);
  instance.words.durations = instance.pieces.durations = metrics::kSpeechDurations;
  source.send = [&](Stream& stream) {
    if (empty) return absl::OkStatus();
    for (std::string samples; !(samples = (*file)->Read(rate / 10)).empty();) {
      LEAPSTREAM_RETURN_IF_ERROR(stream.PushAudio(samples));
    }
    return absl::OkStatus();
  };
  // Resampling can make the end of other rates than 16 kHz come out a little early.
  source.word_delay = source.piece_delay = [length](int, double audio_ms) {
    return length - audio_ms < 1 ? length : audio_ms;
  };
  source.words_per_second = source.pieces_per_second = 1000;  // ms
  return TranslateOne(client, std::move(source));
}

// Calls `translate` with each index from 0 to size - 1, many at once.
absl::StatusOr<std::vector<Instance>> TranslateAll(
    size_t size, const EvaluationOptions& options,
    const std::function<absl::StatusOr<Instance>(size_t)>& translate) {
  struct Shared {
    Mutex mutex;
    size_t next ABSL_GUARDED_BY(mutex) = 0;
    int done ABSL_GUARDED_BY(mutex) = 0;
    absl::Status status ABSL_GUARDED_BY(mutex);
  } shared;
  std::vector<Instance> instances(size);

  const auto work = [&] {
    while (true) {
      size_t index = 0;
      {
        MutexLock lock(&shared.mutex);
        if (!shared.status.ok() || shared.next == size) return;
        index = shared.next++;
      }
      absl::StatusOr<Instance> instance = translate(index);
      if (instance.ok() && instance->source_dropped) {  // The scores would mean nothing.
        instance = absl::ResourceExhaustedError(
            absl::StrCat("line ", options.first_index + index + 1,
                         " of the sources is longer than the server takes; make it shorter"));
      }
      MutexLock lock(&shared.mutex);
      if (!instance.ok()) {
        shared.status.Update(instance.status());
        return;
      }
      instances[index] = *std::move(instance);
      instances[index].index = options.first_index + static_cast<int>(index);
      ++shared.done;
      if (options.on_progress) options.on_progress(shared.done);
    }
  };
  std::vector<std::thread> threads;
  const size_t sessions = std::min<size_t>(std::max(options.sessions, 1), size);
  for (size_t i = 0; i < sessions; ++i) {
    try {
      threads.emplace_back(work);
    } catch (const std::system_error&) {  // The machine has no more threads.
      break;
    }
  }
  if (threads.empty()) work();
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&shared.mutex);
  if (!shared.status.ok()) return shared.status;
  return instances;
}

absl::Status SameSize(absl::Span<const std::string> sources,
                      absl::Span<const std::string> references) {
  if (sources.size() == references.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("want as many references as sources, got ",
                                                 references.size(), " and ", sources.size()));
}

}  // namespace

absl::StatusOr<std::vector<Instance>> Evaluate(Client& client, PieceCounter& pieces,
                                               absl::Span<const std::string> sources,
                                               absl::Span<const std::string> references,
                                               const EvaluationOptions& options) {
  LEAPSTREAM_RETURN_IF_ERROR(SameSize(sources, references));
  return TranslateAll(sources.size(), options, [&](size_t index) {
    return TranslateText(client, pieces, sources[index], references[index], options);
  });
}

absl::StatusOr<std::vector<Instance>> EvaluateSpeech(Client& client,
                                                     absl::Span<const std::string> recordings,
                                                     absl::Span<const std::string> references,
                                                     const EvaluationOptions& options) {
  LEAPSTREAM_RETURN_IF_ERROR(SameSize(recordings, references));
  return TranslateAll(recordings.size(), options, [&](size_t index) {
    return TranslateRecording(client, recordings[index], references[index], options);
  });
}

}  // namespace leapstream::client
