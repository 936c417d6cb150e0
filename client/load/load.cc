#include "client/load/load.h"

#include <poll.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/evaluation/piece_counter.h"
#include "metrics/unicode.h"
#include "metrics/word_timing.h"

namespace leapstream::client {
namespace {

// The time that a server has after the last word until a session counts as failed.
constexpr absl::Duration kPatience = absl::Seconds(30);

struct Sentence {
  std::vector<std::string> words;
  metrics::SourceWordEnds ends;
};

struct Translation {
  std::string source;
  std::string text;
};

// One session. It says sentence after sentence, a word at each interval, and records the answers.
// Not thread-safe.
class Speaker {
 public:
  // `sentences` must outlive it. It begins with the sentence at `next`.
  Speaker(std::unique_ptr<Stream> stream, const std::vector<Sentence>& sentences, size_t next)
      : stream_(std::move(stream)), sentences_(sentences), next_sentence_(next) {}

  void Start(SteadyTime first_word, absl::Duration interval) {
    due_ = first_word;
    interval_ = interval;
  }
  // The time of the next word.
  SteadyTime due() const { return closed_ ? SteadyTime::InfiniteFuture() : due_; }
  bool over() const { return over_; }
  int ready_fd() const { return stream_->ready_fd(); }

  // Says the words that are due; from `end` on it says no more, and closes the source.
  absl::Status Speak(SteadyTime now, SteadyTime end) {
    for (; !closed_ && due_ <= now && due_ < end; due_ += interval_) {
      LEAPSTREAM_RETURN_IF_ERROR(SayWord());
    }
    if (closed_ || due_ < end) return absl::OkStatus();
    closed_ = true;
    due_ = SteadyTime::InfiniteFuture();
    return stream_->CloseSource();  // This ends the open segment, too.
  }

  void Listen(SteadyTime now, LoadReport& report) {
    while (const std::optional<Event> event = stream_->TryNext()) {
      if (const auto* delta = std::get_if<Delta>(&*event)) {
        Take(*delta, now);
      } else if (const auto* completed = std::get_if<SegmentCompleted>(&*event)) {
        Complete(*completed, report);
      }
    }
    if (over_ || !stream_->finished()) return;
    over_ = closed_ = true;
    Finish(stream_->Wait(), report);
  }

  const std::vector<Translation>& translations() const { return translations_; }

 private:
  struct Spoken {  // A sentence that is not translated yet.
    const metrics::SourceWordEnds* ends = nullptr;
    std::string source;
    std::vector<SteadyTime> due;  // The time of each word so far.
    std::string text;
    bool has_tokens = false;
  };

  absl::Status SayWord() {
    const Sentence& sentence = sentences_[next_sentence_ % sentences_.size()];
    if (next_word_ == 0) spoken_.push_back({&sentence.ends, "", {}, "", false});
    Spoken& spoken = spoken_.back();
    const std::string& word = sentence.words[next_word_++];
    absl::StrAppend(&spoken.source, spoken.source.empty() ? "" : " ", word);
    spoken.due.push_back(due_);
    const bool last = next_word_ == sentence.words.size();
    // A word is complete, and can be read, only with the space after it.
    LEAPSTREAM_RETURN_IF_ERROR(stream_->PushText(absl::StrCat(word, last ? "" : " ")));
    if (!last) return absl::OkStatus();
    next_word_ = 0;
    ++next_sentence_;
    return stream_->EndSegment();
  }

  void Take(const Delta& delta, SteadyTime now) {
    if (spoken_.empty()) return;  // Complete() has reported what is amiss.
    Spoken& spoken = spoken_.front();
    absl::StrAppend(&spoken.text, delta.text);
    for (const Token& token : delta.tokens) {
      const int words = std::clamp(spoken.ends->WordsRead(token.source_tokens_read), 1,
                                   static_cast<int>(spoken.due.size()));
      const absl::Duration latency = now - spoken.due[words - 1];
      if (!spoken.has_tokens) first_token_.Add(latency);
      spoken.has_tokens = true;
      every_token_.Add(latency);
      ++tokens_;
    }
  }

  void Complete(const SegmentCompleted& completed, LoadReport& report) {
    if (spoken_.empty()) {
      report.wrong_texts.push_back(absl::StrCat("nothing was said, got: ", completed.text));
      return;
    }
    Spoken spoken = std::move(spoken_.front());
    spoken_.pop_front();
    if (completed.text != spoken.text) {
      report.wrong_texts.push_back(absl::StrCat(spoken.source, "\n  deltas:    ", spoken.text,
                                                "\n  completed: ", completed.text));
    }
    ++report.sentences;
    if (completed.stats.has_value()) report.average_lagging += completed.stats->average_lagging;
    translations_.push_back({std::move(spoken.source), completed.text});
  }

  void Finish(const absl::Status& status, LoadReport& report) {
    report.first_token.Add(first_token_);
    report.every_token.Add(every_token_);
    report.tokens += tokens_;
    if (!status.ok()) {
      const std::string reason = ErrorReason(status);
      ++report.failures[absl::StrCat(absl::StatusCodeToString(status.code()),
                                     reason.empty() ? "" : " ", reason)];
      report.first_failure.Update(status);
    } else if (!spoken_.empty()) {
      ++report.failures["sentences that were never completed"];
    } else if (tokens_ > 0 && every_token_.Percentile(95) <= interval_) {
      ++report.sustained_sessions;
    }
  }

  const std::unique_ptr<Stream> stream_;
  const std::vector<Sentence>& sentences_;
  size_t next_sentence_;
  size_t next_word_ = 0;
  SteadyTime due_;
  absl::Duration interval_;
  bool closed_ = false;
  bool over_ = false;
  std::deque<Spoken> spoken_;
  std::vector<Translation> translations_;
  Latencies first_token_, every_token_;
  int64_t tokens_ = 0;
};

// Runs until all speakers are over.
absl::Status Run(std::vector<std::unique_ptr<Speaker>>& speakers, SteadyTime end,
                 const std::function<bool()>& ends_now, LoadReport& report) {
  while (true) {
    if (!report.ended_early && ends_now != nullptr && ends_now()) {
      report.ended_early = true;
      end = SteadyNow();
    }
    std::vector<pollfd> waiting;
    SteadyTime due = SteadyNow() + absl::Milliseconds(100);  // A stream may have no ready_fd().
    for (const auto& speaker : speakers) {
      if (speaker->over()) continue;
      waiting.push_back({speaker->ready_fd(), POLLIN, 0});
      due = std::min(due, speaker->due());
    }
    if (waiting.empty()) return absl::OkStatus();
    const absl::Duration wait = std::max(due - SteadyNow(), absl::ZeroDuration());
    const timespec timeout = absl::ToTimespec(wait);
    ppoll(waiting.data(), waiting.size(), &timeout, nullptr);
    for (const auto& speaker : speakers) {
      if (speaker->over()) continue;
      LEAPSTREAM_RETURN_IF_ERROR(speaker->Speak(SteadyNow(), end));
      speaker->Listen(SteadyNow(), report);
    }
  }
}

// Translates each source while nothing else is translated. A source that is there twice is
// translated once. Leaves out the rest when `ends_now` is true.
absl::StatusOr<std::map<std::string, std::string>> TranslateAlone(
    Client& client, const std::vector<std::unique_ptr<Speaker>>& speakers, StreamOptions options,
    const std::function<bool()>& ends_now, bool* ended_early) {
  options.deadline = absl::InfiniteDuration();
  // A full server may not have noticed yet that the sessions are over.
  options.resume_timeout = kPatience;
  const std::unique_ptr<Stream> stream = client.StartStream(options);
  std::map<std::string, std::string> alone;
  for (const auto& speaker : speakers) {
    for (const Translation& translation : speaker->translations()) {
      if (alone.count(translation.source) > 0) continue;
      if (ends_now != nullptr && ends_now()) {
        *ended_early = true;
        return alone;
      }
      LEAPSTREAM_RETURN_IF_ERROR(stream->PushText(translation.source));
      LEAPSTREAM_RETURN_IF_ERROR(stream->EndSegment());
      const SegmentCompleted* completed = nullptr;
      std::optional<Event> event;
      while (completed == nullptr && (event = stream->Next()).has_value()) {
        completed = std::get_if<SegmentCompleted>(&*event);
      }
      if (completed == nullptr) {
        LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
        return absl::InternalError("the server ended the stream before the sentence");
      }
      alone[translation.source] = completed->text;
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
  LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
  return alone;
}

}  // namespace

absl::Duration Latencies::Percentile(double percent) const {
  if (all_.empty()) return absl::ZeroDuration();
  std::vector<absl::Duration> sorted = all_;
  const auto rank =
      static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(all_.size())));
  const auto at = sorted.begin() + static_cast<int64_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

absl::StatusOr<LoadReport> Load(Client& client, absl::Span<const std::string> sentences,
                                const LoadOptions& options) {
  PieceCounter pieces(&client, options.stream);
  std::vector<Sentence> split;
  std::vector<std::string> all_words;  // Counted in one call, which is one stream.
  for (const std::string& sentence : sentences) {
    std::vector<std::string> words;
    for (const absl::string_view word : metrics::SplitWords(sentence)) words.emplace_back(word);
    all_words.insert(all_words.end(), words.begin(), words.end());
    if (!words.empty()) split.push_back({std::move(words), {}});
  }
  LEAPSTREAM_RETURN_IF_ERROR(pieces.Count(all_words).status());
  for (Sentence& sentence : split) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> counts, pieces.Count(sentence.words));
    sentence.ends = metrics::SourceWordEnds(counts);
  }
  if (split.empty()) return absl::InvalidArgumentError("want a sentence at least, got none");

  StreamOptions stream = options.stream;
  stream.token_details = true;
  stream.deadline = options.duration + kPatience;
  stream.resume_timeout = absl::ZeroDuration();  // The loss of a server is a failure here.
  const auto sessions = static_cast<size_t>(options.sessions);
  std::vector<std::unique_ptr<Speaker>> speakers;
  for (size_t i = 0; i < sessions; ++i) {
    // The speakers begin at different sentences, so that not all say the same.
    const size_t first = i * split.size() / sessions;
    speakers.push_back(std::make_unique<Speaker>(client.StartStream(stream), split, first));
  }
  const SteadyTime start = SteadyNow();
  const absl::Duration interval = absl::Seconds(1) / options.words_per_second;
  for (size_t i = 0; i < sessions; ++i) {
    speakers[i]->Start(start + interval * static_cast<double>(i) / sessions, interval);
  }
  LoadReport report;
  LEAPSTREAM_RETURN_IF_ERROR(Run(speakers, start + options.duration, options.ends_now, report));
  report.elapsed = SteadyNow() - start;
  if (report.sentences > 0) report.average_lagging /= static_cast<double>(report.sentences);

  if (!options.compare_alone || report.ended_early) return report;
  std::map<std::string, std::string> alone;
  LEAPSTREAM_ASSIGN_OR_RETURN(alone, TranslateAlone(client, speakers, stream, options.ends_now,
                                                    &report.ended_early));
  for (const auto& speaker : speakers) {
    for (const Translation& translation : speaker->translations()) {
      const auto found = alone.find(translation.source);
      if (found == alone.end() || translation.text == found->second) continue;
      report.wrong_texts.push_back(absl::StrCat(translation.source,
                                                "\n  alone:      ", found->second,
                                                "\n  under load: ", translation.text));
    }
  }
  return report;
}

}  // namespace leapstream::client
