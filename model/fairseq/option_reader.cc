#include "model/fairseq/option_reader.h"

#include <cstdint>

#include "absl/strings/numbers.h"
#include "base/quoted.h"
#include "model/fairseq/architectures.h"
#include "model/fairseq/option_table.h"

namespace leapstream {

bool OptionReader::Has(absl::string_view option) const {
  return checkpoint_.options().count(std::string(option)) > 0;
}

std::string OptionReader::Text(absl::string_view option, absl::string_view fallback) const {
  const auto found = checkpoint_.options().find(std::string(option));
  return std::string(found == checkpoint_.options().end() ? fallback : found->second);
}

bool OptionReader::IsTrue(absl::string_view option) const { return !IsOff(Text(option, "")); }

int OptionReader::Int(absl::string_view option) {
  if (!Has(option)) Fail(absl::StrCat("option ", option, " is missing"));
  return Int(option, 0);
}

int OptionReader::Int(absl::string_view option, int fallback) {
  const std::string text = Text(option, absl::StrCat(fallback));
  int value = fallback;
  if (!absl::SimpleAtoi(text, &value)) {
    Fail(absl::StrCat("option ", option, " needs an integer, got ", Quoted(text)));
  }
  return value;
}

std::pair<int, int> OptionReader::TableShape(const std::string& parameter) {
  const auto found = checkpoint_.parameters().find(parameter);
  if (found == checkpoint_.parameters().end()) {
    Fail(absl::StrCat("parameter ", parameter, " is missing"));
    return {0, 0};
  }
  const std::vector<int64_t>& shape = found->second.shape;
  if (shape.size() != 2 || shape[0] > kMostTableRows || shape[1] > kMostTableRows) {
    Fail(absl::StrCat("parameter ", parameter, " has the shape [", absl::StrJoin(shape, ", "),
                      "], no table of embeddings"));
    return {0, 0};
  }
  return {static_cast<int>(shape[0]), static_cast<int>(shape[1])};
}

void OptionReader::CheckPositive(const char* option, int value) {
  if (value < 1) Fail(absl::StrCat("option ", option, " needs to be at least 1, got ", value));
}

void OptionReader::RefuseOption(absl::string_view option, absl::string_view why) {
  Refuse(absl::StrCat("option ", OneLine(option), " is ", Quoted(Text(option, "")), why));
}

void OptionReader::RefuseValue(absl::string_view option, absl::string_view value,
                               absl::string_view served) {
  RefuseOption(option, absl::StrCat(IsOfSpeech(value) ? " (speech)" : "", "; served: ", served));
}

absl::Status OptionReader::Status() const {
  if (!refusals_.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        checkpoint_.name(), ": this model is not served: ", absl::StrJoin(refusals_, "; ")));
  }
  if (!errors_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_.name(), ": ", absl::StrJoin(errors_, "; ")));
  }
  return absl::OkStatus();
}

}  // namespace leapstream
