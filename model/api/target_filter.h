#ifndef LEAPSTREAM_MODEL_API_TARGET_FILTER_H_
#define LEAPSTREAM_MODEL_API_TARGET_FILTER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// The tokenizer of the target, with a target side that follows the configuration: hidden_symbols,
// and the languages' tokens if the frame puts them before a translation, give no text,
// target_tokenizer.clean_up removes spaces, and in a `marian` each U+2581 is a space. The same
// tokenizer if there is nothing to change.
std::unique_ptr<const Tokenizer> FilterTarget(const ModelConfig& config,
                                              std::unique_ptr<const Tokenizer> tokenizer);

// Removes the spaces that transformers' clean_up_tokenization_spaces removes, which are those of
// English typography: before . ? ! , n't 'm 's 've 're, and around a lone apostrophe. It replaces
// one pattern after the other in the whole text; this does the same while the text comes. Pure.
//   held: the memory of the text so far; empty at its start.
// Returns the bytes that no later byte changes.
std::string CleanUp(absl::string_view bytes, std::string* held);
// Ends the text: returns the bytes that are still held.
std::string FinishCleanUp(std::string* held);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TARGET_FILTER_H_
