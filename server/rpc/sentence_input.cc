#include "server/rpc/sentence_input.h"

#include <algorithm>
#include <utility>

namespace leapstream {

std::vector<SentenceInput::Part> SentenceInput::Append(std::string text, SourcePosition at) {
  chunks_.push_back({taken_, at});
  taken_ += static_cast<int64_t>(text.size());
  return Located(segmenter_.Append(text));
}

std::vector<SentenceInput::Part> SentenceInput::Located(
    const std::vector<SentenceSegmenter::Part>& parts) {
  std::vector<Part> located;
  for (const SentenceSegmenter::Part& part : parts) {
    absl::string_view text = part.text;
    int64_t begin = part.begin;
    while (!text.empty()) {
      const SourcePosition at = PlaceOf(begin);
      const int64_t of_chunk = chunks_.size() > 1 ? chunks_[1].begin - begin : taken_ - begin;
      const absl::string_view piece = text.substr(0, static_cast<size_t>(of_chunk));
      Add(piece, at, &located);
      text.remove_prefix(piece.size());
      begin += static_cast<int64_t>(piece.size());
    }
    if (!part.ends_segment) continue;
    located.push_back({"", PlaceOf(begin), true, PlaceOf(begin)});
  }
  return located;
}

SourcePosition SentenceInput::PlaceOf(int64_t offset) {
  while (chunks_.size() > 1 && chunks_[1].begin <= offset) chunks_.pop_front();
  const Chunk& chunk = chunks_.front();
  return {chunk.at.chunks, chunk.at.samples + offset - chunk.begin};
}

void SentenceInput::Add(absl::string_view text, SourcePosition at,
                        std::vector<Part>* parts) const {
  if (at < from_) {  // Text that was translated is left out.
    const auto size = static_cast<int64_t>(text.size());
    const int64_t skipped =
        at.chunks < from_.chunks ? size : std::min(size, from_.samples - at.samples);
    text.remove_prefix(static_cast<size_t>(skipped));
    at.samples += skipped;
  }
  if (!text.empty()) parts->push_back({std::string(text), at, false, {}});
}

}  // namespace leapstream
