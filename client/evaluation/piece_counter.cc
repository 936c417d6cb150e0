#include "client/evaluation/piece_counter.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace leapstream::client {

PieceCounter::PieceCounter(Client* client, const StreamOptions& options) : client_(client) {
  options_.model = options.model;
  options_.source_language_code = options.source_language_code;
  options_.target_language_code = options.target_language_code;
  options_.policy.rule = Offline();
  options_.max_target_tokens = 1;  // The translation does not matter.
}

absl::StatusOr<std::vector<int>> PieceCounter::Count(absl::Span<const std::string> words) {
  std::vector<std::string> unknown;
  {
    MutexLock lock(&mutex_);
    for (const std::string& word : words) {
      if (!counts_.contains(word)) unknown.push_back(word);
    }
  }
  std::sort(unknown.begin(), unknown.end());
  unknown.erase(std::unique(unknown.begin(), unknown.end()), unknown.end());
  if (!unknown.empty()) LEAPSTREAM_RETURN_IF_ERROR(Ask(unknown));
  std::vector<int> result;
  MutexLock lock(&mutex_);
  for (const std::string& word : words) result.push_back(counts_.at(word));
  return result;
}

absl::Status PieceCounter::Ask(const std::vector<std::string>& words) {
  const std::unique_ptr<Stream> stream = client_->StartStream(options_);
  for (const std::string& word : words) {
    LEAPSTREAM_RETURN_IF_ERROR(stream->PushText(word));
    LEAPSTREAM_RETURN_IF_ERROR(stream->EndSegment());
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
  std::vector<int> counts;
  while (const std::optional<Event> event = stream->Next()) {
    const auto* completed = std::get_if<SegmentCompleted>(&*event);
    if (completed == nullptr || !completed->stats.has_value()) continue;
    counts.push_back(std::max(0, completed->stats->source_tokens - 1));
  }
  LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
  if (counts.size() != words.size()) {
    return absl::InternalError(absl::StrCat("asked the server for the figures of ", words.size(),
                                            " segments, got ", counts.size()));
  }
  MutexLock lock(&mutex_);
  for (size_t i = 0; i < words.size(); ++i) counts_[words[i]] = counts[i];
  return absl::OkStatus();
}

}  // namespace leapstream::client
