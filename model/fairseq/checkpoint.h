#ifndef LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_directory.h"
#include "model/fairseq/pickle.h"
#include "model/fairseq/zip_archive.h"

namespace leapstream {

// Where the parameters of a served model lie in a checkpoint.
struct ParameterMap {
  std::map<std::string, std::string> sources;  // Our name (ExpectedTensors()) to fairseq's.
  std::vector<std::string> ignored;            // fairseq's names that inference does not use.
};

// A fairseq checkpoint_*.pt: its options and parameters under fairseq's names. Points into bytes
// that somebody else owns. Const and thread-safe.
class FairseqCheckpoint {
 public:
  // Errors: those of ZipArchive and Pickle; INVALID_ARGUMENT: a PyTorch file that is no fairseq
  // checkpoint. `name` is the file's name in errors.
  static absl::StatusOr<FairseqCheckpoint> Parse(absl::string_view bytes, absl::string_view name);

  // Options of the model and its task as text, Python's for numbers and bools; None left out.
  const std::map<std::string, std::string>& options() const { return options_; }
  const std::map<std::string, PickledTensor>& parameters() const { return parameters_; }
  // fairseq's --arch; empty if the checkpoint does not say.
  std::string architecture() const;
  // Whether the attention blocks of this kind, such as "decoder.encoder_attn", have LeaP's nets.
  bool HasLeap(absl::string_view side, absl::string_view attention) const;

  // The configuration of the model; name and cross_normaliser are the caller's to fill.
  // UNIMPLEMENTED: a model that is not served, with all reasons; INVALID_ARGUMENT: options that are
  // missing or wrong.
  absl::StatusOr<ModelConfig> Config() const;
  // INVALID_ARGUMENT: parameters that are missing, left over or of another shape than `config` has.
  absl::StatusOr<ParameterMap> MapParameters(const ModelConfig& config) const;
  // A parameter's values, row-major. INVALID_ARGUMENT: damaged, of no floating type, or not finite.
  absl::StatusOr<std::vector<float>> ReadFloats(const std::string& parameter) const;

 private:
  FairseqCheckpoint(absl::string_view name, ZipArchive archive, Pickle pickle)
      : name_(name), archive_(std::move(archive)), pickle_(std::move(pickle)) {}
  void AddOptions(ValueId fields);
  absl::Status Error(absl::string_view what) const;
  bool IsTrue(const std::string& option) const;
  absl::StatusOr<int> IntOption(const std::string& option) const;
  std::string Option(const std::string& option, absl::string_view fallback) const;
  absl::StatusOr<SideConfig> Side(const std::string& side) const;
  std::vector<std::string> ReasonsNotServed() const;
  // Checks that the parameter is there and has this shape.
  absl::Status CheckShape(const std::string& parameter, const std::vector<int64_t>& shape) const;

  std::string name_;
  ZipArchive archive_;
  Pickle pickle_;
  std::string folder_;
  bool big_endian_ = false;
  std::map<std::string, std::string> options_;
  std::map<std::string, PickledTensor> parameters_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
