#include "client/cli/hypothesis_input.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"

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
  AddParts(segmenter_.Finish(), items);
  if (std::exchange(is_open_, false)) items.push_back({"", true});
  return status_;
}

void HypothesisInput::Take(const std::vector<SourceHypothesis>& hypotheses,
                           std::deque<SourceItem>& items) {
  for (const SourceHypothesis& hypothesis : hypotheses) {
    if (last_end_.has_value() && hypothesis.begin.has_value()) {
      if (*hypothesis.begin - *last_end_ >= kPause) AddParts(segmenter_.Pause(), items);
      last_end_.reset();
    }
    AddText(stabilizer_.Add(hypothesis), items);
    if (!hypothesis.final) continue;
    last_end_ = hypothesis.end;
    if (hypothesis.pause) AddParts(segmenter_.Pause(), items);
  }
}

void HypothesisInput::AddText(absl::string_view text, std::deque<SourceItem>& items) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const size_t size = space == absl::string_view::npos ? text.size() : space + 1;
    AddParts(segmenter_.Append(text.substr(0, size)), items);
    text.remove_prefix(size);
  }
}

void HypothesisInput::AddParts(const std::vector<SentenceSegmenter::Part>& parts,
                               std::deque<SourceItem>& items) {
  for (const SentenceSegmenter::Part& part : parts) {
    absl::string_view text = part.text;
    if (!is_open_) text = absl::StripLeadingAsciiWhitespace(text);
    if (!text.empty()) {
      items.push_back({std::string(text), false});
      is_open_ = true;
    }
    if (part.ends_segment && std::exchange(is_open_, false)) items.push_back({"", true});
  }
}

}  // namespace leapstream::client
