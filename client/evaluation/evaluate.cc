#include "client/evaluation/evaluate.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "base/status.h"
#include "metrics/unicode.h"
#include "metrics/word_timing.h"

namespace leapstream::client {
namespace {

// As SimulEval counts a reference's words: len(reference.split(" ")).
int SimulEvalLength(const std::string& reference) {
  return 1 + static_cast<int>(std::count(reference.begin(), reference.end(), ' '));
}

std::vector<std::string> WordsOf(const std::string& text) {
  std::vector<std::string> words;
  for (const absl::string_view word : metrics::SplitWords(text)) words.emplace_back(word);
  return words;
}

absl::StatusOr<Instance> TranslateOne(Client& client, PieceCounter& counter,
                                      const std::string& source, const std::string& reference,
                                      const EvaluationOptions& options) {
  const std::vector<std::string> words = WordsOf(source);
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> counts, counter.Count(words));
  const metrics::SourceWordEnds ends(counts);
  const double pieces_per_second =
      words.empty() ? 0 : options.words_per_second * ends.tokens() / ends.words();

  Instance instance;
  instance.source = absl::StrJoin(words, " ");
  instance.reference = reference;
  instance.words.source_length = ends.words();
  instance.words.reference_length = SimulEvalLength(reference);
  instance.pieces.source_length = words.empty() ? 0 : ends.tokens() + 1;
  if (options.joined_vocabulary) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> reference_counts,
                                counter.Count(WordsOf(reference)));
    instance.pieces.reference_length = metrics::SourceWordEnds(reference_counts).tokens() + 1;
  }

  StreamOptions stream_options = options.stream;
  stream_options.token_details = true;
  stream_options.segment_stats = true;
  const std::unique_ptr<Stream> stream = client.StartStream(stream_options);
  // The clock starts when the server is ready, so that a connection's set-up is not counted.
  absl::Time start = absl::Now();
  metrics::TargetWords target;
  const auto add = [&](std::vector<metrics::TimedWord> completed) {
    for (metrics::TimedWord& word : completed) {
      absl::StrAppend(&instance.prediction, instance.prediction.empty() ? "" : " ", word.text);
      instance.words.delays.push_back(word.source_read);
      instance.words.elapsed.push_back(word.source_read + word.elapsed * options.words_per_second);
    }
  };
  const auto add_piece = [&](int source_tokens_read, double seconds) {
    instance.pieces.delays.push_back(source_tokens_read);
    instance.pieces.elapsed.push_back(source_tokens_read + seconds * pieces_per_second);
  };
  while (const std::optional<Event> event = stream->Next()) {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    if (std::holds_alternative<Started>(*event)) {
      start = absl::Now();
      LEAPSTREAM_RETURN_IF_ERROR(stream->PushText(instance.source));
      LEAPSTREAM_RETURN_IF_ERROR(stream->EndSegment());
      LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
    } else if (const auto* delta = std::get_if<Delta>(&*event)) {
      for (const Token& token : delta->tokens) add_piece(token.source_tokens_read, seconds);
      add(target.Append(delta->text, ends.WordsRead(delta->source_tokens_read), seconds));
    } else if (const auto* completed = std::get_if<SegmentCompleted>(&*event)) {
      const int read = completed->stats.has_value() ? completed->stats->source_tokens : 0;
      add(target.Finish(ends.WordsRead(read), seconds));
      if (read > 0) add_piece(read, seconds);  // </s>, or what the length limit stopped.
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
  return instance;
}

}  // namespace

absl::StatusOr<std::vector<Instance>> Evaluate(Client& client, PieceCounter& pieces,
                                               absl::Span<const std::string> sources,
                                               absl::Span<const std::string> references,
                                               const EvaluationOptions& options) {
  if (sources.size() != references.size()) {
    return absl::InvalidArgumentError(absl::StrCat("want as many references as sources, got ",
                                                   references.size(), " and ", sources.size()));
  }
  struct Shared {
    Mutex mutex;
    size_t next ABSL_GUARDED_BY(mutex) = 0;
    int done ABSL_GUARDED_BY(mutex) = 0;
    absl::Status status ABSL_GUARDED_BY(mutex);
  } shared;
  std::vector<Instance> instances(sources.size());

  const auto work = [&] {
    while (true) {
      size_t index = 0;
      {
        MutexLock lock(&shared.mutex);
        if (!shared.status.ok() || shared.next == sources.size()) return;
        index = shared.next++;
      }
      absl::StatusOr<Instance> instance =
          TranslateOne(client, pieces, sources[index], references[index], options);
      MutexLock lock(&shared.mutex);
      if (!instance.ok()) {
        shared.status.Update(instance.status());
        return;
      }
      instances[index] = *std::move(instance);
      instances[index].index = static_cast<int>(index);
      ++shared.done;
      if (options.on_progress) options.on_progress(shared.done);
    }
  };
  std::vector<std::thread> threads;
  const size_t sessions = std::min<size_t>(std::max(options.sessions, 1), sources.size());
  for (size_t i = 0; i < sessions; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&shared.mutex);
  if (!shared.status.ok()) return shared.status;
  return instances;
}

}  // namespace leapstream::client
