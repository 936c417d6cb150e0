#ifndef LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// A new directory beside the model directory that it will replace, so that the latter is unchanged
// until Commit(). The destructor removes it with its files, unless it was committed.
class StagedDirectory {
 public:
  // Checks that `output` may be replaced: it does not exist, is empty, or is a model directory.
  // INVALID_ARGUMENT: `output` has no name; FAILED_PRECONDITION: it may not be replaced.
  static absl::Status CheckReplaceable(const std::string& output);
  // Makes the directory, and those above it. Errors: those of CheckReplaceable(); INTERNAL: it
  // cannot be made.
  static absl::StatusOr<std::unique_ptr<StagedDirectory>> Make(const std::string& output);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Writes a file of this text into the directory. INTERNAL: it cannot be written.
  absl::Status Write(absl::string_view text, const std::string& name) const;
  // Copies a file into the directory under another name. NOT_FOUND: there is no such file.
  // INTERNAL: it cannot be copied.
  absl::Status Copy(const std::string& from, const std::string& name) const;
  // Puts the directory in the place of `output`. INTERNAL: that cannot be; `output` is unchanged.
  absl::Status Commit();

 private:
  StagedDirectory(std::string path, std::string output)
      : path_(std::move(path)), output_(std::move(output)) {}

  const std::string path_;
  const std::string output_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_
