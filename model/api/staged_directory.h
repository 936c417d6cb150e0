#ifndef LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leapstream {

// A model directory that is written beside its place and then put there in one step, so that the
// place holds a whole model, or what it held before. Not thread-safe.
class StagedDirectory {
 public:
  // Checks that `output` has a name and may be replaced: it does not exist, is empty, or is a model
  // directory. INVALID_ARGUMENT: it has no name. FAILED_PRECONDITION: it holds something else.
  static absl::Status CheckReplaceable(const std::string& output);
  // Makes an empty directory beside `output`, and `output`'s parents. INTERNAL: it cannot be made.
  static absl::StatusOr<std::unique_ptr<StagedDirectory>> Make(const std::string& output);
  // Removes the directory with its files, unless it was put in place.
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  // The directory to write to.
  const std::string& path() const { return path_; }
  // Copies the file `from` into the directory as `name`. INTERNAL: it cannot be copied.
  absl::Status Copy(const std::string& from, const std::string& name) const;
  // Puts the directory in the place of `output`. Call it last, and once. INTERNAL: the place is as
  // it was, and the directory stays.
  absl::Status Publish();

 private:
  StagedDirectory(std::string path, std::filesystem::path output)
      : path_(std::move(path)), output_(std::move(output)) {}

  const std::string path_;
  const std::filesystem::path output_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_STAGED_DIRECTORY_H_
