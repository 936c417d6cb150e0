#include "client/cli/cut_segments.h"

#include "absl/strings/str_cat.h"
#include "client/cli/characters.h"

namespace leapstream::client {

std::string CutSegments::Add(const SegmentCompleted& completed) {
  const char* why = "for a reason that this program does not know";
  switch (completed.reason) {
    case FinishReason::kEndOfSentence:
      return "";
    case FinishReason::kMaxLength:
      why = "its translation has as many tokens as it may (--max-target-tokens)";
      break;
    case FinishReason::kSourceLimit:
      ++dropped_;
      why =
          "its source is longer than the server takes, and the rest was dropped; send shorter ones";
      break;
    case FinishReason::kUnspecified:
      break;
  }
  return absl::StrCat("segment ", completed.segment, " was cut short: ", why);
}

absl::Status CutSegments::status() const {
  if (dropped_ == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("source was dropped in ", Counted(dropped_, "segment")));
}

}  // namespace leapstream::client
