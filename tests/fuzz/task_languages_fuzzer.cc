// Raw bytes are a row of options and their values, of the three tasks of many languages. Whatever
// they are, each symbol that is appended is one that a dictionary takes.
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "model/fairseq/languages.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = FuzzParts(FuzzBytes(data, size));
  std::map<std::string, std::string> options;
  for (size_t i = 0; i + 1 < parts.size(); i += 2) options[parts[i]] = parts[i + 1];
  for (const char* task : {"translation_multi_simple_epoch", "translation_from_pretrained_bart",
                           "multilingual_translation"}) {
    options["task"] = task;
    const LanguageSetup setup = ReadLanguageSetup(options);
    for (const std::string& symbol : setup.appended) {
      if (symbol.find_first_of(" \n\r") != std::string::npos) std::abort();
    }
    if (setup.frame.source_tail.empty() || setup.frame.start.empty()) std::abort();
  }
  return 0;
}
