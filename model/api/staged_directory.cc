#include "model/api/staged_directory.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "model/api/model_directory.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

absl::Status FileError(const fs::path& path, const std::error_code& error) {
  return absl::InternalError(absl::StrCat(path.string(), ": ", error.message()));
}

fs::path Normal(const std::string& output) {
  const fs::path path = fs::path(output).lexically_normal();
  return path.has_filename() ? path : path.parent_path();  // A path may end with a slash.
}

}  // namespace

absl::Status StagedDirectory::CheckReplaceable(const std::string& output) {
  const fs::path path = Normal(output);
  if (path.empty()) return absl::InvalidArgumentError("the output needs a name");
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (status.type() == fs::file_type::none) return FileError(path, error);
  const auto refuse = [&](absl::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), ": ", what, "; choose another output or remove it"));
  };
  if (status.type() != fs::file_type::directory) return refuse("is there and is no directory");
  bool empty = true;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    empty = false;
    const std::string name = it->path().filename().string();
    if (name == kModelJson || absl::StartsWith(name, kPackedPrefix) ||
        absl::c_linear_search(ModelFileNames(), name)) {
      continue;
    }
    return refuse(absl::StrCat("holds ", name, ", no file of a model"));
  }
  if (error) return FileError(path, error);
  if (!empty && !fs::exists(path / kModelJson, error)) return refuse("is no model directory");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StagedDirectory>> StagedDirectory::Make(const std::string& output) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckReplaceable(output));
  const fs::path normal = Normal(output);
  std::error_code error;
  if (normal.has_parent_path()) fs::create_directories(normal.parent_path(), error);
  if (error) return FileError(normal.parent_path(), error);
  std::string path = normal.string() + ".tmp.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat(path, ": cannot be made: ", std::strerror(errno)));
  }
  fs::permissions(path, fs::perms(0755), error);  // mkdtemp() lets only the owner read.
  return std::unique_ptr<StagedDirectory>(new StagedDirectory(std::move(path), normal.string()));
}

StagedDirectory::~StagedDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
}

absl::Status StagedDirectory::Write(absl::string_view text, const std::string& name) const {
  const std::string path = absl::StrCat(path_, "/", name);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), text.size());
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

absl::Status StagedDirectory::Copy(const std::string& from, const std::string& name) const {
  std::error_code error;
  const fs::path copy = fs::path(path_) / name;
  if (!fs::is_regular_file(from, error)) {  // Of a missing file `error` may be clear.
    return absl::NotFoundError(absl::StrCat(from, ": ", error ? error.message() : "is no file"));
  }
  fs::copy_file(from, copy, error);
  if (error) return FileError(from, error);
  fs::permissions(copy, fs::perms(0644), error);
  return absl::OkStatus();
}

absl::Status StagedDirectory::Commit() {
  std::error_code error;
  fs::rename(path_, output_, error);  // This works if `output_` is missing or empty.
  if (!error) return absl::OkStatus();
  const std::string old = path_ + ".old";
  fs::rename(output_, old, error);
  if (error) return FileError(output_, error);
  fs::rename(path_, output_, error);
  if (error) {
    std::error_code ignored;
    fs::rename(old, output_, ignored);
    return FileError(output_, error);
  }
  fs::remove_all(old, error);
  return absl::OkStatus();
}

}  // namespace leapstream
