// Checks that any chunking of a recogniser's output gives the same source, or the same error, and
// that segments without text are not sent.
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "client/cli/hypothesis_input.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream::client;

namespace {

// Returns the text that is sent, with a line feed at each end of a segment, and the error.
std::string Source(const HypothesisOptions& options, Segmentation segmentation,
                   const std::vector<std::string>& chunks) {
  HypothesisInput input(options, segmentation);
  std::deque<SourceItem> items;
  absl::Status status;
  for (const std::string& chunk : chunks) {
    if (status.ok()) status = input.Append(chunk, items);
  }
  status = input.Finish(items);
  std::string source;
  for (const SourceItem& item : items) {
    if (item.ends_line && (source.empty() || source.back() == '\n')) std::abort();
    source += item.text;
    if (item.ends_line) source += '\n';
  }
  if (!source.empty() && source.back() != '\n') std::abort();
  return source + status.ToString();
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  HypothesisOptions options;
  options.format = static_cast<HypothesisFormat>(data[0] & 7);
  options.agreement = 1 + (data[0] >> 3 & 3);
  const auto segmentation = (data[0] & 0x20) != 0 ? Segmentation::kPause : Segmentation::kSentence;
  const std::vector<std::string> chunks =
      leapstream::FuzzParts(leapstream::FuzzBytes(data + 1, size - 1));
  if (Source(options, segmentation, chunks) !=
      Source(options, segmentation, {absl::StrJoin(chunks, "")})) {
    std::abort();
  }
  return 0;
}
