#include <cstdlib>
#include <string>
#include <vector>

#include "model/api/languages.h"
#include "tests/fuzz/fuzz_input.h"

using namespace leapstream;

// A code that a client asks for, and whether each code of a model, of which the input is one, names
// itself.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string asked(FuzzBytes(data, size));
  std::vector<std::string> codes = {"zho_Hans", "zho_Hant", "yue_Hant", "deu_Latn", "en_XX", "pt_BR",
                                    "pt_PT",    "sr",       "knc_Arab", "knc_Latn"};
  for (const size_t place : MatchLanguage(asked, codes)) {
    if (place >= codes.size()) std::abort();
  }
  if (NearestLanguages(asked, codes, 3).size() != 3) std::abort();
  if (asked.empty() || asked.size() > 64) return 0;
  codes.insert(codes.begin(), asked);
  for (const std::string& code : codes) {
    const std::vector<size_t> found = MatchLanguage(code, codes);
    if (found.size() != 1) std::abort();
  }
  return 0;
}
