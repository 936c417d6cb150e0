#include "client/hub/snapshot.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/quoted.h"
#include "base/small_file.h"
#include "base/status.h"

namespace leapstream::client {
namespace {

namespace fs = std::filesystem;

// Says that all files are there: the licence, then a file in each line.
constexpr char kComplete[] = ".complete";

bool IsNamePart(absl::string_view text) {
  return !text.empty() && text != "." && text != ".." && text.size() <= 96 &&
         absl::c_all_of(text, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("._-", c);
         });
}

absl::Status MakeFolders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("cannot make the folder ", path.string(), ": ",
                                                    error.message(),
                                                    "; name another with "
                                                    "--cache"));
}

absl::Status WriteText(const fs::path& path, const std::string& text) {
  const std::string unfinished = path.string() + ".part";
  {
    std::ofstream file(unfinished);
    file << text;
    if (!file.flush()) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot write ", unfinished));
    }
  }
  if (rename(unfinished.c_str(), path.c_str()) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cannot rename ", unfinished, ": ", std::strerror(errno)));
}

int64_t SizeOf(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 ? status.st_size : -1;
}

// Refuses what would not fit before anything is fetched.
absl::Status CheckSpace(const fs::path& folder, int64_t wanted) {
  struct statvfs space = {};
  if (statvfs(folder.c_str(), &space) != 0) return absl::OkStatus();
  const auto free = static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
  if (wanted <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the files need ", (wanted >> 20) + 1, " MB in ", folder.string(),
                   ", which has ", free >> 20, "; make room, or name another place with --cache"));
}

// Holds a lock on a repository's folder in the cache.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder)
      : descriptor_(open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {}
  ~FolderLock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  bool Take() const { return descriptor_ >= 0 && flock(descriptor_, LOCK_EX | LOCK_NB) == 0; }

 private:
  const int descriptor_;
};

// The snapshot in `folder`, if it is complete.
absl::StatusOr<Snapshot> ReadComplete(const fs::path& folder, const std::string& commit) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile((folder / kComplete).string()));
  Snapshot snapshot;
  snapshot.folder = folder.string();
  snapshot.commit = commit;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  snapshot.license = lines.front();
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const int64_t size = SizeOf((folder / lines[i]).string());
    if (size < 0) return absl::NotFoundError(absl::StrCat(lines[i], " is missing"));
    snapshot.bytes += size;
    snapshot.files.push_back(lines[i]);
  }
  return snapshot;
}

}  // namespace

absl::StatusOr<SnapshotRequest> ParseRepo(absl::string_view text) {
  SnapshotRequest request;
  const size_t at = text.find('@');
  request.repo = std::string(text.substr(0, at));
  if (at != absl::string_view::npos) request.revision = std::string(text.substr(at + 1));
  const std::vector<absl::string_view> parts = absl::StrSplit(request.repo, '/');
  const std::vector<absl::string_view> revision = absl::StrSplit(request.revision, '/');
  if (parts.size() > 2 || !absl::c_all_of(parts, IsNamePart) ||
      !absl::c_all_of(revision, IsNamePart)) {
    return absl::InvalidArgumentError(
        absl::StrCat("want a repository such as Helsinki-NLP/opus-mt-en-de, and maybe @ and a "
                     "branch, a tag or a commit, got ",
                     Quoted(text)));
  }
  return request;
}

absl::StatusOr<std::vector<std::string>> FilesToExport(const std::vector<std::string>& files) {
  static constexpr absl::string_view kNamed[] = {"config.json",
                                                 "generation_config.json",
                                                 "tokenizer_config.json",
                                                 "added_tokens.json",
                                                 "special_tokens_map.json",
                                                 "vocab.json",
                                                 "target_vocab.json",
                                                 "vocab-src.json",
                                                 "vocab-tgt.json",
                                                 "merges.txt",
                                                 "source.spm",
                                                 "target.spm",
                                                 "sentencepiece.bpe.model",
                                                 "README.md",
                                                 "bpecodes"};
  const auto has = [&](absl::string_view name) { return absl::c_linear_search(files, name); };
  const bool hugging_face = has("config.json");
  std::vector<std::string> wanted;
  // The weights in the form that the export would take.
  absl::string_view index, prefix, suffix;
  if (has("model.safetensors")) {
    wanted.push_back("model.safetensors");
  } else if (has("model.safetensors.index.json")) {
    index = "model.safetensors.index.json";
    prefix = "model-";
    suffix = ".safetensors";
  } else if (has("pytorch_model.bin")) {
    wanted.push_back("pytorch_model.bin");
  } else if (has("pytorch_model.bin.index.json")) {
    index = "pytorch_model.bin.index.json";
    prefix = "pytorch_model-";
    suffix = ".bin";
  }
  if (!index.empty()) wanted.emplace_back(index);
  bool checkpoint = false;
  for (const std::string& file : files) {
    if (!absl::c_all_of(std::vector<absl::string_view>(absl::StrSplit(file, '/')), IsNamePart) ||
        absl::StrContains(file, '/') || absl::StartsWith(file, ".")) {
      continue;
    }
    const bool shard =
        !index.empty() && absl::StartsWith(file, prefix) && absl::EndsWith(file, suffix);
    const bool fairseq =
        !hugging_face && (absl::EndsWith(file, ".pt") || absl::EndsWith(file, ".spm") ||
                          absl::EndsWith(file, ".model") ||
                          (absl::StartsWith(file, "dict.") && absl::EndsWith(file, ".txt")));
    if (fairseq && absl::EndsWith(file, ".pt")) checkpoint = true;
    if (shard || fairseq || absl::StartsWith(file, "LICENSE") ||
        absl::c_linear_search(kNamed, file)) {
      wanted.push_back(file);
    }
  }
  const bool weights =
      hugging_face && absl::c_any_of(wanted, [](const std::string& file) {
        return absl::StartsWith(file, "model") || absl::StartsWith(file, "pytorch_model");
      });
  if (!weights && !checkpoint) {
    return absl::InvalidArgumentError(
        absl::StrCat("want a repository with config.json and model.safetensors or "
                     "pytorch_model.bin, or with a checkpoint of fairseq (*.pt), got ",
                     files.size(), " files without; see docs/models.md"));
  }
  return wanted;
}

absl::StatusOr<Snapshot> FetchSnapshot(const SnapshotRequest& request, Hub* hub) {
  const fs::path repo = fs::path(request.cache) / absl::StrReplaceAll(request.repo, {{"/", "--"}});
  const fs::path ref = repo / "refs" / absl::StrReplaceAll(request.revision, {{"/", "--"}});
  if (request.offline) {
    // A commit stands for itself.
    std::string commit = request.revision;
    if (auto named = ReadSmallFile(ref.string()); named.ok()) commit = *std::move(named);
    auto snapshot = ReadComplete(repo / "snapshots" / commit, commit);
    if (snapshot.ok()) return snapshot;
    return absl::NotFoundError(absl::StrCat(request.repo, "@", request.revision, " is not in ",
                                            request.cache, "; fetch it once without --offline"));
  }
  LEAPSTREAM_RETURN_IF_ERROR(MakeFolders(repo / "refs"));
  const FolderLock lock(repo);
  if (!lock.Take()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "another leapstream pull fetches ", request.repo, " into ", request.cache,
        ", or the folder cannot be written to; wait for it, or name another with --cache"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const HubRevision revision,
                              hub->Look(request.repo, request.revision));
  const fs::path folder = repo / "snapshots" / revision.commit;
  if (auto there = ReadComplete(folder, revision.commit); there.ok()) {
    LEAPSTREAM_RETURN_IF_ERROR(WriteText(ref, revision.commit));
    return there;
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> names, FilesToExport(revision.files));
  LEAPSTREAM_RETURN_IF_ERROR(MakeFolders(folder));
  struct File {
    std::string name, path;
    HubFile known;
    bool there = false;
  };
  std::vector<File> files;
  int64_t total = 0, missing = 0;
  for (const std::string& name : names) {
    File file;
    file.name = name;
    file.path = (folder / name).string();
    LEAPSTREAM_ASSIGN_OR_RETURN(file.known, hub->LookAt(request.repo, revision.commit, name));
    const int64_t size = SizeOf(file.path);
    // A file gets its name when its checksum is right.
    file.there = size >= 0 && (file.known.size < 0 || size == file.known.size);
    total += std::max<int64_t>(file.known.size, 0);
    if (!file.there) {
      missing +=
          std::max<int64_t>(file.known.size, 0) - std::max<int64_t>(SizeOf(file.path + ".part"), 0);
    }
    files.push_back(std::move(file));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckSpace(folder, missing));
  int64_t before = 0;
  for (const File& file : files) {
    const auto tell = [&](int64_t there) {
      if (request.on_progress != nullptr) {
        request.on_progress({file.name, before + there, total});
      }
    };
    if (!file.there) {
      LEAPSTREAM_RETURN_IF_ERROR(
          hub->Fetch(request.repo, revision.commit, file.name, file.known, file.path, tell));
    }
    before += std::max<int64_t>(SizeOf(file.path), 0);
  }
  const std::string license = absl::StrReplaceAll(revision.license, {{"\n", " "}});
  LEAPSTREAM_RETURN_IF_ERROR(
      WriteText(folder / kComplete, absl::StrCat(license, "\n", absl::StrJoin(names, "\n"), "\n")));
  LEAPSTREAM_RETURN_IF_ERROR(WriteText(ref, revision.commit));
  return ReadComplete(folder, revision.commit);
}

}  // namespace leapstream::client
