// Checks that every part is UTF-8, and that together they are SentencePiece's text for the pieces.
#include <cstdlib>
#include <string>
#include <vector>

#include "model/api/tokenizer.h"
#include "streaming/text_sink.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

namespace {

const Tokenizer& EmbeddedTokenizer() {
  static const auto* const tokenizer = [] {
    auto loaded = Tokenizer::Load(LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de/target.spm.model");
    if (!loaded.ok()) std::abort();
    return loaded->release();
  }();
  return *tokenizer;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Tokenizer& tokenizer = EmbeddedTokenizer();
  std::vector<std::string> pieces;
  for (std::string& piece : FuzzParts(FuzzBytes(data, size))) {
    if (!IsUtf8(piece) || piece.empty()) continue;  // Dictionaries hold UTF-8 only.
    pieces.push_back(std::move(piece));
  }
  TextSink sink(&tokenizer);
  std::string text;
  for (const std::string& piece : pieces) {
    const std::string part = sink.Append(piece);
    if (!IsUtf8(part)) std::abort();
    text += part;
  }
  const std::string rest = sink.Finish();
  if (!IsUtf8(rest) || text + rest != tokenizer.Decode(pieces)) std::abort();
  return 0;
}
