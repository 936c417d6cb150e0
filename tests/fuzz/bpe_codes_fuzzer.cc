#include <cstdlib>

#include "absl/strings/strip.h"
#include "model/api/tokenizers/bpe_codes.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

// The parts are a codes file, a vocabulary and words. The symbols of a word are the word, whatever
// the codes are.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = FuzzParts(FuzzBytes(data, size));
  if (parts.size() < 3) return 0;
  for (const auto format : {BpeCodes::Format::kSubwordNmt, BpeCodes::Format::kFastBpe}) {
    auto codes = BpeCodes::Parse(parts[0], format, "codes");
    if (!codes.ok()) continue;
    codes->Pieces();
    for (const bool limited : {false, true}) {
      if (limited && !codes->SetVocabulary(parts[1], 2, "vocabulary").ok()) break;
      for (size_t i = 2; i < parts.size(); ++i) {
        const std::string word = parts[i].substr(0, 1024);
        const std::vector<std::string> symbols = codes->Symbols(word);
        // With a vocabulary, codes that have "</w>" within a symbol undo it to other characters.
        if (limited) continue;
        std::string joined;
        for (size_t s = 0; s < symbols.size(); ++s) {
          absl::string_view symbol = symbols[s];
          if (s + 1 < symbols.size() && !absl::ConsumeSuffix(&symbol, "@@")) std::abort();
          joined.append(symbol.data(), symbol.size());
        }
        if (joined != word) std::abort();
      }
    }
  }
  return 0;
}
