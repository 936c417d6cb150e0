#ifndef LEAPSTREAM_MODEL_FAIRSEQ_OPTION_TABLE_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_OPTION_TABLE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leapstream {

// The kinds of models whose options differ. Kinds are bits, so that a row of the table may be for
// several.
enum ModelKind : unsigned {
  kMonotonicText = 1,       // transformer_monotonic*
  kMaskedText = 2,           // waitk_transformer*
  kUnidirectionalText = 4,   // transformer_unidirectional*
  kBidirectionalText = 8,    // transformer and its presets
  kSimultaneousSpeech = 16,  // convtransformer_simul_trans* and convtransformer_emformer
  kOfflineSpeech = 32,       // s2t_transformer*, s2t_conformer, convtransformer
  kLanguageModel = 64,       // transformer_lm*
  kAllModels = 127,
};

// The effects that a checkpoint's option can have.
enum class OptionEffect {
  kApplied,  // The option is read; its value decides whether the model is served.
  kNone,     // The option changes nothing at inference.
  kRefused,  // The model is not served, unless the option is off.
};

struct OptionRow {
  OptionEffect effect;
  unsigned kinds;  // ModelKinds. 0: only architectures that are not served have the option.
  absl::string_view names;  // The options' names, with a space between them.
  absl::string_view why;
};

// Every option that leapstream knows of. No option has two rows for one kind of model.
absl::Span<const OptionRow> OptionRows();

// The row of an option for a kind of model. Null: there is none, so that the option may change what
// the model computes.
const OptionRow* FindOption(absl::string_view name, ModelKind kind);

// Whether a value switches an option off: "", "None", "False", "0", "[]", "{}" and the like.
bool IsOff(absl::string_view value);

// The rows as the table of docs/models.md.
std::string OptionTable();

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_OPTION_TABLE_H_
