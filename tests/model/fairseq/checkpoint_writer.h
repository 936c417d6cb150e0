#ifndef LEAPSTREAM_TESTS_MODEL_FAIRSEQ_CHECKPOINT_WRITER_H_
#define LEAPSTREAM_TESTS_MODEL_FAIRSEQ_CHECKPOINT_WRITER_H_

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/api/half.h"
#include "model/fairseq/checkpoint.h"
#include "tests/model/torchfile/torch_bytes.h"

namespace leapstream {

// A checkpoint in memory, which can be changed and written in any of the forms that exist. There
// are no files of the official trainer for most of these forms.
struct CheckpointContents {
  struct Parameter {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  // The options as text. The text decides the type: True, 1, 0.5, [1, 2], None; any other is a
  // string.
  std::map<std::string, std::string> options;
  std::map<std::string, Parameter> parameters;

  void Rename(const std::string& from, const std::string& to) {
    auto node = parameters.extract(from);
    node.key() = to;
    parameters.insert(std::move(node));
  }
};

// Reads a checkpoint, without the tensors that may be uninitialised memory and those of integers.
inline CheckpointContents ReadContents(const std::string& path) {
  const std::string bytes = ReadAll(path);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, path);
  CheckpointContents result;
  result.options = checkpoint->options();
  for (const auto& [name, tensor] : checkpoint->parameters()) {
    if (absl::EndsWith(name, "_float_tensor")) continue;
    if (absl::EndsWith(name, "num_batches_tracked")) continue;
    result.parameters[name] = {tensor.shape, *checkpoint->ReadFloats(name)};
  }
  return result;
}

enum class OptionsForm {
  kArgs,                 // An argparse.Namespace under `args`, and no cfg.
  kNamespace,            // cfg is a dict, its model an argparse.Namespace.
  kNested,               // Dicts all the way: cfg["model"]["encoder"]["embed_dim"].
  kDictConfig,           // OmegaConf's containers and nodes, nested; one option refers to another.
  kDictConfigNamespace,  // cfg is a DictConfig, and its model a node with an argparse.Namespace.
};

struct CheckpointForm {
  OptionsForm options = OptionsForm::kNamespace;
  int protocol = 2;
  StorageType type = StorageType::kFloat32;
  bool transposed = false;  // Matrices lie in memory column by column.
  bool padded = false;      // Tensors start somewhere inside their storage.
  bool old = false;         // The format is that of PyTorch before 1.6, not a zip file.
};

// The opcodes that Python's pickle and torch.save() write.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(CheckpointForm form)
      : form_(form),
        omegaconf_(form.options == OptionsForm::kDictConfig ||
                   form.options == OptionsForm::kDictConfigNamespace) {}

  std::string Write(const CheckpointContents& contents) {
    pickle_ = absl::StrCat("\x80", std::string(1, char(form_.protocol)));
    if (form_.protocol >= 4) {  // There is one frame, whose size nobody reads.
      pickle_ += '\x95';
      PutNumber(8, 0);
    }
    pickle_ += "}(";
    if (form_.options == OptionsForm::kArgs) {
      PutText("args");
      PutNamespace(contents.options);
    } else {
      PutText("args");
      pickle_ += 'N';
      PutText("cfg");
      PutCfg(contents.options);
    }
    PutText("model");
    PutGlobal("collections", "OrderedDict");
    pickle_ += ")R(";
    for (const auto& [name, parameter] : contents.parameters) {
      PutText(name);
      PutTensor(parameter);
    }
    pickle_ += "uu.";
    if (form_.old) return OldFile(pickle_, storages_, "\x88");
    std::vector<std::pair<std::string, std::string>> entries = {{"archive/data.pkl", pickle_}};
    for (const OldStorage& each : storages_) {
      entries.emplace_back("archive/data/" + each.key, each.bytes);
    }
    return StoredZip(entries);
  }

 private:
  void PutNumber(int size, uint64_t value) {
    const size_t at = pickle_.size();
    pickle_.resize(at + size);
    leapstream::PutNumber(value, size, at, &pickle_);
  }
  void PutText(absl::string_view text) {
    if (form_.protocol >= 4 && text.size() < 256) {
      pickle_ += '\x8c';
      PutNumber(1, text.size());
    } else {
      pickle_ += 'X';
      PutNumber(4, text.size());
    }
    absl::StrAppend(&pickle_, text);
    if (form_.protocol >= 4) pickle_ += '\x94';
  }
  void PutInt(int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      pickle_ += 'J';
      PutNumber(4, value);
    } else {
      pickle_ += "\x8a\x08";
      PutNumber(8, value);
    }
  }
  void PutGlobal(absl::string_view module, absl::string_view name) {
    if (form_.protocol >= 4) {
      PutText(module);
      PutText(name);
      pickle_ += '\x93';
    } else {
      absl::StrAppend(&pickle_, "c", module, "\n", name, "\n");
    }
  }
  // `build` writes the object's state.
  template <typename F>
  void PutObject(absl::string_view module, absl::string_view name, F build) {
    PutGlobal(module, name);
    pickle_ += ")\x81";
    build();
    pickle_ += 'b';
  }

  void PutScalar(const std::string& text) {
    int64_t integer = 0;
    double real = 0;
    if (text == "None") {
      pickle_ += 'N';
    } else if (text == "True" || text == "False") {
      pickle_ += text == "True" ? '\x88' : '\x89';
    } else if (absl::SimpleAtoi(text, &integer)) {
      PutInt(integer);
    } else if (absl::SimpleAtod(text, &real)) {
      uint64_t bits = 0;
      std::memcpy(&bits, &real, sizeof(bits));
      pickle_ += 'G';
      PutNumber(8, __builtin_bswap64(bits));
    } else {
      PutText(text);
    }
  }
  template <typename F>
  void Node(F put) {
    if (!omegaconf_) return put();
    PutObject("omegaconf.nodes", "AnyNode", [&] {
      pickle_ += "}(";
      PutText("_val");
      put();
      PutText("_parent");
      pickle_ += "Nu";
    });
  }
  void PutNode(const std::string& text) {
    Node([&] { PutScalar(text); });
  }
  void PutOption(const std::string& text) {
    if (!absl::StartsWith(text, "[")) return PutNode(text);
    Container("ListConfig", [&] {
      pickle_ += "](";
      for (absl::string_view part :
           absl::StrSplit(text, absl::ByAnyChar("[], "), absl::SkipEmpty())) {
        PutNode(std::string(part));
      }
      pickle_ += 'e';
    });
  }
  template <typename F>
  void Container(absl::string_view name, F put) {
    if (!omegaconf_) return put();
    PutObject("omegaconf." + absl::AsciiStrToLower(name), name, [&] {
      pickle_ += "}(";
      PutText("_metadata");
      pickle_ += 'N';
      PutText("_content");
      put();
      pickle_ += 'u';
    });
  }
  void PutDict(const std::map<std::string, std::string>& options) {
    Container("DictConfig", [&] {
      pickle_ += "}(";
      for (const auto& [name, value] : options) {
        PutText(name);
        PutOption(value);
      }
      pickle_ += 'u';
    });
  }
  void PutNamespace(const std::map<std::string, std::string>& options) {
    Node([&] {
      const bool omegaconf = std::exchange(omegaconf_, false);
      PutObject("argparse", "Namespace", [&] { PutDict(options); });
      omegaconf_ = omegaconf;
    });
  }
  void PutCfg(const std::map<std::string, std::string>& options) {
    Container("DictConfig", [&] {
      pickle_ += "}(";
      PutText("model");
      if (form_.options == OptionsForm::kNamespace ||
          form_.options == OptionsForm::kDictConfigNamespace) {
        PutNamespace(options);
      } else {
        PutNested(options);
      }
      PutText("task");
      std::map<std::string, std::string> task = {{"_name", "translation"}};
      for (const char* name : {"source_lang", "target_lang"}) {
        if (const auto found = options.find(name); found != options.end()) task.insert(*found);
      }
      PutDict(task);
      pickle_ += 'u';
    });
  }
  void PutNested(std::map<std::string, std::string> options) {
    std::map<std::string, std::map<std::string, std::string>> nested;
    for (const std::string group : {"encoder", "decoder", "quant_noise"}) {
      for (auto it = options.begin(); it != options.end();) {
        if (!absl::StartsWith(it->first, group + "_")) {
          ++it;
          continue;
        }
        nested[group][it->first.substr(group.size() + 1)] = it->second;
        it = options.erase(it);
      }
    }
    options["_name"] = options["arch"];
    for (const char* name : {"arch", "task", "source_lang", "target_lang"}) options.erase(name);
    if (omegaconf_ && nested["decoder"]["output_dim"] == nested["decoder"]["embed_dim"]) {
      nested["decoder"]["output_dim"] = "${model.decoder.embed_dim}";
      nested["decoder"]["input_dim"] = "${model.decoder.embed_dim}";
      nested["encoder"]["layers_to_keep"] = "???";
    }
    Container("DictConfig", [&] {
      pickle_ += "}(";
      for (const auto& [name, value] : options) {
        PutText(name);
        PutOption(value);
      }
      for (const auto& [group, members] : nested) {
        PutText(group);
        PutDict(members);
      }
      pickle_ += 'u';
    });
  }

  void PutSizes(const std::vector<int64_t>& sizes) {
    pickle_ += '(';
    for (int64_t size : sizes) PutInt(size);
    pickle_ += 't';
  }
  std::string Element(float value) const {
    std::string bytes(ElementBytes(form_.type), '\0');
    const double wide = value;
    const uint16_t half = FloatToHalf(value);
    switch (form_.type) {
      case StorageType::kFloat16:
        std::memcpy(bytes.data(), &half, 2);
        break;
      case StorageType::kBFloat16:  // bfloat16 is cut, not rounded.
        std::memcpy(bytes.data(), reinterpret_cast<const char*>(&value) + 2, 2);
        break;
      case StorageType::kFloat64:
        std::memcpy(bytes.data(), &wide, 8);
        break;
      default:
        std::memcpy(bytes.data(), &value, 4);
    }
    return bytes;
  }
  void PutTensor(const CheckpointContents::Parameter& parameter) {
    constexpr const char* kClasses[] = {"FloatStorage", "HalfStorage", "BFloat16Storage",
                                        "DoubleStorage"};  // In the order of StorageType.
    const int64_t offset = form_.padded ? 3 : 0;
    std::vector<int64_t> strides(parameter.shape.size(), 1);
    for (size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * parameter.shape[d];
    std::vector<float> values = parameter.values;
    if (form_.transposed && parameter.shape.size() == 2) {
      const int64_t rows = parameter.shape[0], columns = parameter.shape[1];
      strides = {1, rows};
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          values[j * rows + i] = parameter.values[i * columns + j];
        }
      }
    }
    values.insert(values.begin(), offset, 42);
    std::string data;
    for (float value : values) data += Element(value);
    const std::string key = absl::StrCat(storages_.size());
    storages_.push_back({key, static_cast<int64_t>(values.size()), data});

    PutGlobal("torch._utils", "_rebuild_tensor_v2");
    pickle_ += "((";
    PutText("storage");
    PutGlobal("torch", kClasses[static_cast<int>(form_.type)]);
    PutText(key);
    PutText("cpu");
    PutInt(values.size());
    pickle_ += form_.old ? "NtQ" : "tQ";
    PutInt(offset);
    PutSizes(parameter.shape);
    PutSizes(strides);
    pickle_ += '\x89';
    PutGlobal("collections", "OrderedDict");
    pickle_ += ")RtR";
  }

  const CheckpointForm form_;
  bool omegaconf_;
  std::string pickle_;
  std::vector<OldStorage> storages_;
};

inline std::string WriteCheckpoint(const CheckpointContents& contents, CheckpointForm form = {}) {
  return CheckpointWriter(form).Write(contents);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_FAIRSEQ_CHECKPOINT_WRITER_H_
