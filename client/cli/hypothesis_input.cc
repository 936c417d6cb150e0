#include "client/cli/hypothesis_input.h"

#include <string>

namespace leapstream::client {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(600);

}  // namespace

absl::Status HypothesisInput::Append(absl::string_view bytes, std::deque<SourceItem>& items) {
  if (!status_.ok()) return status_;
  std::vector<SourceHypothesis> hypotheses;
  status_ = reader_.Append(bytes, hypotheses);
  Take(hypotheses, items);
  return status_;
}

absl::Status HypothesisInput::Finish(std::deque<SourceItem>& items) {
  std::vector<SourceHypothesis> hypotheses;
  if (status_.ok()) status_ = reader_.Finish(hypotheses);
  Take(hypotheses, items);
  AddText(stabilizer_.Finish(), items);
  segmenter_.Finish(items);
  return status_;
}

void HypothesisInput::Take(const std::vector<SourceHypothesis>& hypotheses,
                           std::deque<SourceItem>& items) {
  for (const SourceHypothesis& hypothesis : hypotheses) {
    if (last_end_.has_value() && hypothesis.begin.has_value()) {
      if (*hypothesis.begin - *last_end_ >= kPause) segmenter_.Pause(items);
      last_end_.reset();
    }
    AddText(stabilizer_.Add(hypothesis), items);
    if (!hypothesis.final) continue;
    last_end_ = hypothesis.end;
    if (hypothesis.pause) segmenter_.Pause(items);
  }
}

void HypothesisInput::AddText(absl::string_view text, std::deque<SourceItem>& items) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const size_t size = space == absl::string_view::npos ? text.size() : space + 1;
    segmenter_.Add({std::string(text.substr(0, size)), false}, items);
    text.remove_prefix(size);
  }
}

}  // namespace leapstream::client
