#include "client/evaluation/simuleval_session.h"

#include <poll.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "metrics/unicode.h"

namespace leapstream::client {
namespace {

// The wait for events that may still come. A step takes about a millisecond. A longer or shorter
// wait changes no result.
constexpr absl::Duration kQuiet = absl::Milliseconds(15);

StreamOptions WithDetails(StreamOptions options) {
  options.token_details = true;
  options.segment_stats = true;
  return options;
}

}  // namespace

SimulEvalSession::SimulEvalSession(Client* client, PieceCounter* pieces,
                                   const StreamOptions& options, LatencyUnit unit)
    : client_(client),
      counter_(pieces),
      options_(WithDetails(options)),
      unit_(unit),
      stream_(client->StartStream(options_)) {}

absl::Status SimulEvalSession::Push(absl::string_view text, bool finished) {
  if (source_finished_) return absl::OkStatus();
  std::vector<std::string> words;
  for (const absl::string_view word : metrics::SplitWords(text)) words.emplace_back(word);
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<int> counts, counter_->Count(words));
  counts_.insert(counts_.end(), counts.begin(), counts.end());
  for (const std::string& word : words) {
    const std::string sent = absl::StrCat(word, " ");  // The space makes it a whole word.
    LEAPSTREAM_RETURN_IF_ERROR(stream_->PushText(sent));
    source_ += sent;
  }
  if (!finished) return absl::OkStatus();
  source_finished_ = true;
  LEAPSTREAM_RETURN_IF_ERROR(stream_->EndSegment());
  return stream_->CloseSource();
}

absl::StatusOr<SimulEvalSession::Output> SimulEvalSession::Pop() {
  std::optional<Progress> foreseen;
  while (!progress_.completed) {
    if (std::optional<Event> event = stream_->TryNext()) {
      Take(*event);
      continue;
    }
    if (stream_->finished()) {
      LEAPSTREAM_RETURN_IF_ERROR(stream_->Wait());
      return absl::InternalError("the session ended without its segment's end");
    }
    if (source_finished_ || !progress_.started) {
      WaitForEvent(absl::InfiniteDuration());
    } else if (IsSurelyBlocked()) {
      break;
    } else if (foreseen.has_value()) {
      if (progress_.tokens >= foreseen->tokens && !foreseen->completed) break;
      WaitForEvent(absl::InfiniteDuration());
    } else if (!WaitForEvent(kQuiet)) {
      LEAPSTREAM_ASSIGN_OR_RETURN(foreseen, Foresee());
    }
  }
  if (progress_.source_dropped) {  // The scores would mean nothing.
    return absl::ResourceExhaustedError("the sentence is longer than the server takes");
  }
  return Output{std::exchange(text_, ""), progress_.completed};
}

void SimulEvalSession::Take(const Event& event) {
  const auto add_unit = [&](absl::string_view unit) {
    absl::StrAppend(&text_, text_.empty() ? "" : " ", unit);
  };
  const auto add = [&](const std::vector<metrics::TimedWord>& words) {
    for (const metrics::TimedWord& word : words) add_unit(word.text);
  };
  if (const auto* started = std::get_if<Started>(&event)) {
    progress_.started = true;
    const PolicyRule& rule = started->applied.policy.rule;
    progress_.offline = std::holds_alternative<Offline>(rule);
    // A k in words tells less: the server alone knows which pieces make a word.
    const auto* const wait_k = std::get_if<WaitK>(&rule);
    if (wait_k != nullptr && !wait_k->count_words) progress_.k = wait_k->k;
  } else if (const auto* delta = std::get_if<Delta>(&event)) {
    progress_.tokens += static_cast<int>(delta->tokens.size());
    progress_.last_read = delta->source_tokens_read;
    switch (unit_) {
      case LatencyUnit::kWord:
        return add(target_.Append(delta->text, 0, 0));
      case LatencyUnit::kChar:
        text_ += delta->text;
        return;
      case LatencyUnit::kSpm:
        for (const Token& token : delta->tokens) add_unit(token.piece);
    }
  } else if (const auto* completed = std::get_if<SegmentCompleted>(&event)) {
    progress_.completed = true;
    progress_.source_dropped = completed->reason == FinishReason::kSourceLimit;
    add(target_.Finish(0, 0));
  }
}

bool SimulEvalSession::IsSurelyBlocked() const {
  const int there = metrics::SourceWordEnds(counts_).tokens();
  if (there == 0 || progress_.offline) return true;
  return progress_.k.has_value() && std::max(*progress_.k, progress_.last_read + 1) > there;
}

absl::StatusOr<SimulEvalSession::Progress> SimulEvalSession::Foresee() {
  const int there = metrics::SourceWordEnds(counts_).tokens();
  const std::unique_ptr<Stream> stream = client_->StartStream(options_);
  LEAPSTREAM_RETURN_IF_ERROR(stream->PushText(source_));
  LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
  Progress progress;
  while (const std::optional<Event> event = stream->Next()) {
    if (const auto* delta = std::get_if<Delta>(&*event)) {
      for (const Token& token : delta->tokens) {
        if (token.source_tokens_read <= there) ++progress.tokens;
      }
    } else if (const auto* completed = std::get_if<SegmentCompleted>(&*event)) {
      // The segment ended although it had not read </s>.
      progress.completed = completed->stats.has_value() && completed->stats->source_tokens <= there;
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
  return progress;
}

bool SimulEvalSession::WaitForEvent(absl::Duration timeout) const {
  pollfd fd = {stream_->ready_fd(), POLLIN, 0};
  const int milliseconds = timeout == absl::InfiniteDuration()
                               ? -1
                               : static_cast<int>(absl::ToInt64Milliseconds(timeout));
  return poll(&fd, 1, milliseconds) != 0;
}

}  // namespace leapstream::client
