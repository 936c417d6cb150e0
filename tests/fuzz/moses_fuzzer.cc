#include <cstdlib>

#include "base/utf8.h"
#include "model/api/model_config.h"
#include "model/api/tokenizers/subword_tokenizer.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

// The parts are a prefix list, a text for the source and symbols for the target. Words that come
// one by one, with looks at their beginnings, have the tokens of the whole text.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = FuzzParts(FuzzBytes(data, size));
  if (parts.size() < 2 || parts[1].size() > 4096) return 0;
  for (const char* language : {"en", "fr", "de", "cs", "zh"}) {
    TokenizerConfig config;
    config.bpe = "subword_nmt";
    config.tokenizer = "moses";
    config.moses_language = language;
    TokenizerFiles files;
    files.prefixes = {parts[0], "prefixes"};
    const auto made = SubwordTokenizer::Create(config, files);
    if (!made.ok()) return 0;
    const SubwordTokenizer& tokenizer = **made;
    auto moses = MosesTokenizer::Create({language, true, true}, parts[0], "prefixes");
    std::vector<std::string> whole;
    for (const auto& tokens : moses->Tokenize(parts[1])) {
      whole.insert(whole.end(), tokens.begin(), tokens.end());
    }
    if (tokenizer.Encode(parts[1]) != whole) std::abort();
    TokenizerState state;
    std::string text;
    for (size_t i = 2; i < parts.size(); ++i) {
      text += tokenizer.AppendSymbol(parts[i], &state).bytes;
      const TokenizerState copy = state;  // What is out stays, whether the text ends or goes on.
      TokenizerState ended = copy;
      tokenizer.FinishSymbols(&ended);
    }
    text += tokenizer.FinishSymbols(&state).bytes;
    if (!IsUtf8(text)) std::abort();
  }
  return 0;
}
