#ifndef LEAPSTREAM_MODEL_FAIRSEQ_OPTION_READER_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_OPTION_READER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "model/fairseq/checkpoint.h"

namespace leapstream {

inline constexpr int kMostTableRows = 1 << 24;

// Reads a checkpoint's options, and collects sentences on what is wrong with them (errors) and what
// is not served (refusals). A reading goes on after either, so that people see all of them at once.
// The checkpoint must outlive the reader.
class OptionReader {
 public:
  explicit OptionReader(const FairseqCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  const FairseqCheckpoint& checkpoint() const { return checkpoint_; }

  bool Has(absl::string_view option) const;
  std::string Text(absl::string_view option, absl::string_view fallback) const;
  bool IsTrue(absl::string_view option) const;
  // An option that every such model has; a missing one is an error.
  int Int(absl::string_view option);
  int Int(absl::string_view option, int fallback);
  // A value that is none of `names` is refused.
  template <typename Names>
  std::string OneOf(absl::string_view option, absl::string_view fallback, const Names& names) {
    std::string text = Text(option, fallback);
    if (!absl::c_linear_search(names, text)) RefuseValue(option, text, absl::StrJoin(names, ", "));
    return text;
  }
  // (rows, columns) of a table of embeddings, kMostTableRows at most in both. (0, 0) and an error
  // if the checkpoint has no such parameter, or it is no table.
  std::pair<int, int> TableShape(const std::string& parameter);

  void CheckPositive(const char* option, int value);
  void Fail(std::string error) { errors_.push_back(std::move(error)); }
  void Refuse(std::string reason) { refusals_.push_back(std::move(reason)); }
  // `why` follows the option's name and value.
  void RefuseOption(absl::string_view option, absl::string_view why);
  // Refuses for this reason alone: the others follow from it.
  void RefuseOnly(std::string reason) { refusals_ = {std::move(reason)}; }

  const std::vector<std::string>& errors() const { return errors_; }
  const std::vector<std::string>& refusals() const { return refusals_; }
  // UNIMPLEMENTED with the refusals, or INVALID_ARGUMENT with the errors, or OK.
  absl::Status Status() const;

 private:
  void RefuseValue(absl::string_view option, absl::string_view value, absl::string_view served);

  const FairseqCheckpoint& checkpoint_;
  std::vector<std::string> refusals_;
  std::vector<std::string> errors_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_OPTION_READER_H_
