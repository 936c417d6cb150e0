// Checks that any chunking of a text gives the same segments, in all languages, that no byte is
// lost, and that little is held.
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/utf8.h"
#include "base/sentences/sentence_segmenter.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

namespace {

constexpr const char* kLanguages[] = {"en", "fr", "zh", "hi"};
constexpr size_t kMostHeld = 4 * SentenceSegmenter::kLookAhead;  // Bytes.

std::vector<std::string> SegmentsOf(const std::vector<std::string>& chunks, uint8_t choice) {
  SentenceSegmenter segmenter(SentenceRules(kLanguages[choice & 3]),
                              (choice & 4) != 0 ? SentenceSegmenter::Mode::kLength
                                                : SentenceSegmenter::Mode::kSentences);
  std::vector<std::string> segments = {""};
  std::string taken, given;
  const auto take = [&](const std::vector<SentenceSegmenter::Part>& parts) {
    for (const SentenceSegmenter::Part& part : parts) {
      given += part.text;
      segments.back() += part.text;
      if (part.ends_segment) segments.emplace_back();
    }
  };
  for (const std::string& chunk : chunks) {
    taken += chunk;
    take(segmenter.Append(chunk));
    if (taken.size() - given.size() > kMostHeld) std::abort();
  }
  take(segmenter.Finish());
  if (given != taken) std::abort();
  return segments;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // Chunks of the wire end between characters.
  std::vector<std::string> chunks;
  for (std::string& chunk : FuzzParts(FuzzBytes(data + 1, size - 1))) {
    chunk.resize(Utf8PrefixBytes(chunk));
    chunks.push_back(std::move(chunk));
  }
  if (SegmentsOf(chunks, data[0]) != SegmentsOf({absl::StrJoin(chunks, "")}, data[0])) std::abort();
  return 0;
}
