#ifndef LEAPSTREAM_BASE_GLOSSARY_TEXT_H_
#define LEAPSTREAM_BASE_GLOSSARY_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// A term of a glossary, as users write it.
struct GlossaryTerm {
  std::string source;  // One or more words.
  std::string target;  // Empty: the term is not translated.
};

// Reads a glossary: each line is a source term, a tab or else " = ", and its target term, or a term
// alone that is not translated. Empty lines and lines that begin with "# " are left out.
// INVALID_ARGUMENT: see CheckGlossary(), or a line has several tabs; the message has `name` and the
// line's number.
absl::StatusOr<std::vector<GlossaryTerm>> ParseGlossary(absl::string_view text,
                                                        absl::string_view name);
// ParseGlossary() of a file. NOT_FOUND: the file cannot be read.
absl::StatusOr<std::vector<GlossaryTerm>> ReadGlossary(const std::string& path);

// The text that ParseGlossary() takes.
std::string GlossaryText(const std::vector<GlossaryTerm>& terms);

// INVALID_ARGUMENT: the glossary has more terms or bytes than budget::kGlossaryTerms and
// budget::kGlossaryBytes, or a term is empty, too long, not UTF-8, or has a control character.
absl::Status CheckGlossary(const std::vector<GlossaryTerm>& terms);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_GLOSSARY_TEXT_H_
