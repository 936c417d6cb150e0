#include "model/huggingface/folder_tensors.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/half.h"
#include "model/huggingface/json_file.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxShards = 1000;

class SafetensorsTensor final : public StoredTensor {
 public:
  SafetensorsTensor(TensorView view, std::string path)
      : path_(std::move(path)), view_(std::move(view)) {}

  const std::vector<int64_t>& shape() const override { return view_.shape; }
  std::string type() const override {
    switch (view_.type) {
      case TensorType::kFloat32:
        return "float32";
      case TensorType::kFloat16:
        return "float16";
      case TensorType::kBfloat16:
        return "bfloat16";
      case TensorType::kInt64:
        break;
    }
    return "int64";
  }
  absl::Status Read(absl::string_view name, int64_t first,
                    absl::Span<float> values) const override {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": tensor ", name, " holds ", what));
    };
    if (view_.type == TensorType::kInt64) return error("integers, expected floating numbers");
    const int64_t bytes = ElementBytes(view_.type);
    const char* const from = view_.bytes.data() + first * bytes;
    for (size_t i = 0; i < values.size(); ++i) {
      if (view_.type == TensorType::kFloat32) {
        std::memcpy(&values[i], from + 4 * i, 4);
      } else {
        uint16_t bits;
        std::memcpy(&bits, from + 2 * i, sizeof(bits));
        values[i] =
            view_.type == TensorType::kFloat16 ? HalfToFloat(bits) : Bfloat16ToFloat(bits);
      }
      if (!std::isfinite(values[i])) return error("NaN or infinity; the training has diverged");
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const TensorView view_;
};

class TorchTensor final : public StoredTensor {
 public:
  // `file` must outlive the tensor.
  TorchTensor(const TorchFile* file, PickledTensor tensor)
      : file_(file), tensor_(std::move(tensor)) {}

  const std::vector<int64_t>& shape() const override { return tensor_.shape; }
  std::string type() const override { return tensor_.storage.TypeName(); }
  absl::Status Read(absl::string_view name, int64_t first,
                    absl::Span<float> values) const override {
    return file_->Read(tensor_, absl::StrCat("tensor ", name), first, values);
  }

 private:
  const TorchFile* const file_;
  const PickledTensor tensor_;
};

bool Exists(const std::string& directory, const char* name) {
  std::error_code error;
  return fs::exists(fs::path(directory) / name, error);
}

// The error of a folder without weights, which says what it has instead.
absl::Status NoWeights(const std::string& directory) {
  constexpr std::pair<const char*, const char*> kOthers[] = {
      {"tf_model.h5", "TensorFlow's"},
      {"flax_model.msgpack", "Flax's"},
      {"rust_model.ot", "rust-bert's"},
      {"onnx", "ONNX's"},
      {"model.onnx", "ONNX's"},
      {"model.bin", "CTranslate2's"},
      {"model.npz", "Marian's own"},
      {"decoder.yml", "Marian's own"}};
  std::string there;
  for (const auto& [file, framework] : kOthers) {
    if (Exists(directory, file)) there = absl::StrCat("; ", file, " is ", framework);
  }
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::EndsWith(name, ".gguf")) there = absl::StrCat("; ", OneLine(name, 100), " is GGUF");
  }
  const std::string message = absl::StrCat(
      directory, ": expected model.safetensors or pytorch_model.bin, or an index of one of them",
      there, "; fetch one of these files");
  return there.empty() ? absl::NotFoundError(message) : absl::UnimplementedError(message);
}

}  // namespace

int64_t StoredTensor::count() const {
  int64_t count = 1;
  for (const int64_t size : shape()) count *= size;
  return count;
}

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseShardIndex(
    absl::string_view text, absl::string_view name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const Json index, ParseJsonObject(text, name));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected weight_map, an object of file names; fetch it again"));
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || absl::StrContains(shard, "/") || absl::StrContains(shard, "..") ||
        absl::StrContains(shard, absl::string_view("\0", 1))) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": weight_map gives ", Quoted(tensor), " the file ", JsonText(file),
                       ", expected the name of a file of the same folder"));
    }
    shards[shard].push_back(tensor);
  }
  if (shards.size() > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", shards.size(), " shards, expected at most ", kMaxShards));
  }
  return shards;
}

absl::StatusOr<FolderTensors> FolderTensors::Open(const std::string& directory) {
  if (Exists(directory, "adapter_config.json")) {
    return absl::UnimplementedError(
        absl::StrCat(directory, ": adapter_config.json says that the folder holds an adapter "
                                "(LoRA); merge it into its base model and export that"));
  }
  FolderTensors tensors;
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    const std::string index = absl::StrCat(name, ".index.json");
    if (Exists(directory, name)) {
      LEAPSTREAM_RETURN_IF_ERROR(tensors.OpenFile(directory, name));
      return tensors;
    }
    if (Exists(directory, index.c_str())) {
      LEAPSTREAM_RETURN_IF_ERROR(tensors.OpenShards(directory, index));
      return tensors;
    }
  }
  return NoWeights(directory);
}

absl::Status FolderTensors::OpenShards(const std::string& directory, const std::string& index) {
  const std::string path = absl::StrCat(directory, "/", index);
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxFolderJsonBytes));
  LEAPSTREAM_RETURN_IF_ERROR(CheckNoPointer(file->bytes(), path));
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto shards, ParseShardIndex(file->bytes(), path));
  for (const auto& [shard, names] : shards) {
    if (!Exists(directory, shard.c_str())) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": names the file ", Quoted(shard), ", which is not in the folder; fetch it"));
    }
    LEAPSTREAM_RETURN_IF_ERROR(OpenFile(directory, shard));
    for (const std::string& name : names) {
      if (tensors_.count(name) > 0) continue;
      return absl::InvalidArgumentError(absl::StrCat(path, ": names the tensor ", Quoted(name),
                                                     " of ", Quoted(shard),
                                                     ", which that file does not have"));
    }
  }
  return absl::OkStatus();
}

absl::Status FolderTensors::OpenFile(const std::string& directory, const std::string& file) {
  const std::string path = absl::StrCat(directory, "/", file);
  LEAPSTREAM_ASSIGN_OR_RETURN(auto mapped, MappedFile::Open(path));
  const absl::string_view bytes = mapped->bytes();
  LEAPSTREAM_RETURN_IF_ERROR(CheckNoPointer(bytes, path));
  files_.push_back(std::move(mapped));
  return absl::EndsWith(file, ".safetensors") ? OpenSafetensors(bytes, path)
                                              : OpenTorch(bytes, path);
}

absl::Status FolderTensors::OpenSafetensors(absl::string_view bytes, const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto views, ParseSafetensors(bytes, path));
  for (auto& [name, view] : views) {
    LEAPSTREAM_RETURN_IF_ERROR(
        Add(name, std::make_unique<SafetensorsTensor>(std::move(view), path), path));
  }
  return absl::OkStatus();
}

absl::Status FolderTensors::OpenTorch(absl::string_view bytes, const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(TorchFile parsed, TorchFile::Parse(bytes, path));
  torch_files_.push_back(std::make_unique<const TorchFile>(std::move(parsed)));
  const TorchFile* const file = torch_files_.back().get();
  LEAPSTREAM_ASSIGN_OR_RETURN(auto tensors,
                              file->Tensors(file->pickle().root(), "the dict of tensors"));
  for (auto& [name, tensor] : tensors) {
    LEAPSTREAM_RETURN_IF_ERROR(
        Add(name, std::make_unique<TorchTensor>(file, std::move(tensor)), path));
  }
  return absl::OkStatus();
}

absl::Status FolderTensors::Add(const std::string& name,
                                std::unique_ptr<const StoredTensor> tensor,
                                const std::string& path) {
  if (!tensors_.emplace(name, std::move(tensor)).second) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": tensor ", Quoted(name), " is in another shard as well"));
  }
  return absl::OkStatus();
}

}  // namespace leapstream
