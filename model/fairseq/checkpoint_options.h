#ifndef LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_OPTIONS_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_OPTIONS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/torchfile/torch_file.h"

namespace leapstream {

// The options of a checkpoint's model and task, as text. Numbers, bools and lists of them are
// written as in Python, strings without their quotes; NumPy's numbers and one-element tensors are
// written as numbers; other objects are <their class>. Options that are None are left out. Options
// of a nested configuration have flat names: encoder_embed_dim. INVALID_ARGUMENT: the file has no
// options; RESOURCE_EXHAUSTED: it has more than the limits in checkpoint_options.cc.
absl::StatusOr<std::map<std::string, std::string>> ReadOptions(const TorchFile& file);

// The items of an option that is a list, a tuple, a dict or a text of such, in their order: of
// "[en, de]", "en,de" and "{\"main\": (\"en\", \"de\")}". A key of a dict ends with its colon.
std::vector<std::string> OptionItems(absl::string_view value);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_OPTIONS_H_
