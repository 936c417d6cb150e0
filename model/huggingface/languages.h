#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_LANGUAGES_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_LANGUAGES_H_

#include <string>
#include <vector>

namespace leapstream {

// The tables of languages that the tokenizers of transformers have built in. kWmt21 is that of
// M2M100Tokenizer with language_codes "wmt21".
enum class LanguageTable { kM2m100, kWmt21, kNllb, kMbart25, kMbart50 };

// The codes of a table, in the order of their ids: they follow the pieces, one by one.
std::vector<std::string> FolderLanguages(LanguageTable table);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_LANGUAGES_H_
