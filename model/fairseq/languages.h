#ifndef LEAPSTREAM_MODEL_FAIRSEQ_LANGUAGES_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_LANGUAGES_H_

#include <map>
#include <string>
#include <vector>

#include "model/api/model_config.h"

namespace leapstream {

// The languages of a model and their tokens, as fairseq's tasks make them of their options. The
// tasks `translation` and the like have the first values of all fields.
struct LanguageSetup {
  // The symbols that the task appends to both dictionaries, in this order. A symbol that a
  // dictionary has keeps its id.
  std::vector<std::string> appended;
  // The three symbols that NLLB's version of fairseq appends behind them. No option says whether it
  // did; a dictionary that lacks just these three rows of the embedding shows it.
  std::vector<std::string> data_tags;
  FrameConfig frame;
  std::vector<LanguageConfig> languages;  // Empty: the model is of one pair.
  std::vector<std::string> errors;        // The options that do not fit each other, in words.
};

// The specification of language tokens of fairseq's langtoks["main"], such as ("src", "tgt"), which
// wins over encoder_langtok and decoder_langtok. Empty: the side has no token.
struct TokenSpecification {
  std::string encoder;
  std::string decoder;
};
TokenSpecification ReadTokenSpecification(const std::map<std::string, std::string>& options);

// Reads the options `task`, langs, lang_pairs, langtoks, langtoks_specs, lang_tok_style,
// encoder_langtok, decoder_langtok, lang_tok_replacing_bos_eos, extra_data, source_lang and
// target_lang.
LanguageSetup ReadLanguageSetup(const std::map<std::string, std::string>& options);

// The pairs of a checkpoint of multilingual_translation, such as "de-en", in the order of
// lang_pairs.
std::vector<std::string> LanguagePairs(const std::map<std::string, std::string>& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_LANGUAGES_H_
