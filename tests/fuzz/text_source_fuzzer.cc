// Checks that any chunking gives the same words, or the same error.
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "streaming/text_source.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

namespace {

void TakeWords(TextSource* source, std::vector<std::string>* words, absl::Status* error) {
  while (true) {
    const auto word = source->NextWord();
    if (!word.ok()) *error = word.status();
    if (!word.ok() || word->empty()) return;
    words->push_back(*word);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> chunks = FuzzParts(FuzzBytes(data, size));
  std::vector<std::string> words, by_chunks;
  absl::Status error, chunk_error;
  TextSource source;
  source.Append(absl::StrJoin(chunks, ""));
  source.Finish();
  TakeWords(&source, &words, &error);
  source.Reset();
  for (const std::string& chunk : chunks) {
    source.Append(chunk);
    TakeWords(&source, &by_chunks, &chunk_error);
  }
  source.Finish();
  TakeWords(&source, &by_chunks, &chunk_error);
  if (words != by_chunks || error != chunk_error) std::abort();
  return 0;
}
