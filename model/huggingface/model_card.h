#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_MODEL_CARD_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_MODEL_CARD_H_

#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// The facts that a folder's README.md says of the model in its front matter. Empty: it does not.
struct ModelCard {
  std::string license;  // As the hub names it, such as "cc-by-nc-4.0".
  std::string base_model;
};

// Reads the front matter: YAML between two lines of three dashes, at the very beginning. A card
// that cannot be read says nothing; it is text for people.
ModelCard ParseModelCard(absl::string_view text);

// Whether a licence, as the hub names it, forbids commercial use.
bool ForbidsCommerce(absl::string_view license);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_MODEL_CARD_H_
