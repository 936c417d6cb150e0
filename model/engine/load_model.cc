#include "model/engine/load_model.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/language_model.h"
#include "model/api/model_directory.h"
#include "model/api/model_tokenizer.h"
#include "model/api/piece_check.h"
#include "model/engine/ensemble.h"
#include "model/api/target_filter.h"
#include "model/engine/layers.h"
#include "model/engine/model_call.h"
#include "model/engine/model_family.h"
#include "model/engine/packed_file.h"
#include "model/engine/torch_device.h"
#include "model/engine/weights.h"

namespace leapstream {
namespace {

absl::Status CheckVocabulary(const Vocabulary& vocabulary, const std::string& path, int rows) {
  if (vocabulary.size() == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": the embedding has ", rows, " rows, so the dictionary must have ", rows,
                   " symbols with the 4 specials, found ", vocabulary.size(),
                   "; export the checkpoint again with its own dictionary"));
}

// A multiple of KeyValueCache::kBlock; few, since a step of a large model takes long.
constexpr int kMeasuredTokens = 16;

// MeasureState() of a language model.
absl::Status MeasureText(const LanguageModel& model, ModelInfo* info) {
  std::unique_ptr<SessionState> state;
  LEAPSTREAM_ASSIGN_OR_RETURN(state, model.NewState());
  info->state_bytes_per_session = state->bytes();
  const std::vector<TokenId> text(
      info->max_source_tokens > 0 ? std::min(kMeasuredTokens, info->max_source_tokens)
                                  : kMeasuredTokens,
      kUnknown);
  bool finite = true;
  LEAPSTREAM_RETURN_IF_ERROR(model.Extend({TextRows{state.get(), text, text.size() - 1}},
                                          [&](size_t, size_t, const TokenScores& scores) {
                                            finite = scores.finite();
                                            return true;
                                          }));
  if (!finite) return NotFiniteError();
  info->state_bytes_per_token =
      (state->bytes() - info->state_bytes_per_session) / static_cast<int64_t>(text.size());
  return absl::OkStatus();
}

// Measures the memory that a session needs, by running one.
absl::Status MeasureState(const Translator& translator, ModelInfo* info) {
  if (translator.language_model() != nullptr) {
    return MeasureText(*translator.language_model(), info);
  }
  constexpr int kTokens = kMeasuredTokens;
  std::unique_ptr<SessionState> state;
  LEAPSTREAM_ASSIGN_OR_RETURN(state, translator.NewState());
  info->state_bytes_per_session = state->bytes();
  const std::vector<TokenId> source(kTokens, kUnknown);
  const std::vector<float> samples(
      info->speech.has_value() ? kTokens * info->speech->SamplesPerState() : 0);
  Decision decision;
  SessionState* const one = state.get();
  const int tokens =
      std::min({kTokens, info->max_source_tokens > 0 ? info->max_source_tokens : kTokens,
                info->max_target_tokens > 0 ? info->max_target_tokens : kTokens});
  const auto speech_samples =
      absl::MakeConstSpan(samples).subspan(0, samples.size() / kTokens * tokens);
  const SourceRows rows{one,
                        info->speech.has_value() ? absl::Span<const TokenId>()
                                                 : absl::MakeConstSpan(source).subspan(0, tokens),
                        speech_samples};
  LEAPSTREAM_RETURN_IF_ERROR(translator.Read({rows}));
  for (int t = 0; t < tokens; ++t) {
    LEAPSTREAM_RETURN_IF_ERROR(translator.Decide({one}, absl::MakeSpan(&decision, 1)));
    if (!decision.finite()) return NotFiniteError();
    state->Commit(kUnknown);
  }
  const int64_t added = state->bytes() - info->state_bytes_per_session;
  info->state_bytes_per_token = added / tokens;
  return absl::OkStatus();
}

// Whether a name has the form of a LibTorch device's: lower-case letters, and possibly a colon and
// a number of up to three digits.
bool IsDeviceName(absl::string_view name) {
  const absl::string_view kind = name.substr(0, name.find(':'));
  if (kind.empty() || !absl::c_all_of(kind, absl::ascii_islower)) return false;
  if (kind.size() == name.size()) return true;
  name.remove_prefix(kind.size() + 1);
  return !name.empty() && name.size() <= 3 && absl::c_all_of(name, absl::ascii_isdigit);
}

// LibTorch's name of the device that a user names; empty: leapstream's own kernels compute.
absl::StatusOr<std::string> ParseDevice(const std::string& device) {
  if (device == "cpu") return std::string();
  if (device == "torch-cpu") return std::string("cpu");
  if (IsDeviceName(device) && !absl::StartsWith(device, "cpu")) return device;
  return absl::InvalidArgumentError(
      absl::StrCat("device needs to be cpu, torch-cpu or another device of LibTorch such as "
                   "cuda:0, got ",
                   Quoted(device)));
}

// The type of the products that leapstream's own kernels make; on LibTorch's devices those are few,
// and float32.
absl::StatusOr<ComputeType> ParseComputeType(const std::string& name, const TorchDevice& device) {
  if (!device.name.empty()) return ComputeType::kFloat32;
  if (name == "float32") return ComputeType::kFloat32;
  if (name == "bfloat16") return ComputeType::kBfloat16;
  if (name == "int8") return ComputeType::kInt8;
  return absl::InvalidArgumentError(
      absl::StrCat("compute_type needs to be float32, bfloat16 or int8, got ", Quoted(name)));
}

// A model that is being loaded: all of it but the translator.
struct Parts {
  ModelConfig config;
  TorchDevice device;
  ComputeType compute_type = ComputeType::kFloat32;
  ModelFiles files;  // But for the weights, their SHA-256 was checked.
  std::shared_ptr<Model> model = std::make_shared<Model>();
};

// The bytes of a file of `directory`. If model.json records the file, they are the checked ones in
// *files; otherwise the file is read.
absl::StatusOr<absl::string_view> BytesOf(const char* file, const std::string& directory,
                                          ModelFiles* files) {
  std::shared_ptr<FileBytes>& bytes = files->bytes[file];
  if (bytes == nullptr) {
    LEAPSTREAM_ASSIGN_OR_RETURN(
        bytes, FileBytes::Read(absl::StrCat(directory, "/", file), kMaxTextFileBytes));
  }
  return bytes->bytes();
}

// Adds the languages and the frame to a model, and takes the frame's positions off its limits.
absl::Status AddLanguages(const ModelConfig& config, const std::string& path, Model* model) {
  ModelInfo& info = model->info;
  if (const absl::Status status = model->SetLanguages(config); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  const FrameConfig& frame = config.frame;
  // The frame's tokens at the source's end count as one; see Frame.
  const auto source = static_cast<int>(frame.source_lead.size() + frame.source_tail.size() - 1);
  const auto target = static_cast<int>(frame.forced.size());
  if ((info.max_source_tokens > 0 && info.max_source_tokens < source + 2) ||
      (info.max_target_tokens > 0 && info.max_target_tokens < target + 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the positions of the model need to hold its frame and a word, got ",
                     info.max_source_tokens, " for the source and ", info.max_target_tokens,
                     " for the target; is it another model's frame?"));
  }
  if (info.max_source_tokens > 0) info.max_source_tokens -= source;
  if (info.max_target_tokens > 0) info.max_target_tokens -= target;
  return absl::OkStatus();
}

// The checksum of the weights; that of an ensemble is made of those of its networks.
std::string ChecksumOf(const ModelConfig& config) {
  if (config.ensemble == 1) return config.sha256.at(kWeightsFile);
  std::string checksums;
  for (int member = 1; member <= config.ensemble; ++member) {
    absl::StrAppend(&checksums, config.sha256.at(WeightsFileName(member)), "\n");
  }
  return Sha256OfBytes(checksums);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const ModelConfig& config,
                                                               ModelSide side,
                                                               const std::string& directory,
                                                               ModelFiles* files) {
  if (const std::string file = PiecesFile(config, side); !file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(BytesOf(file.c_str(), directory, files).status());
  }
  return MakeTokenizer(config, side, directory, *files);
}

std::string ContentOf(const ModelFiles& files, const ModelConfig& config,
                      const LoadOptions& options) {
  std::string content = absl::StrCat(options.name, "\n", config.compute_type, "\n",
                                     config.state_type, "\n", options.device, "\n",
                                     options.intra_op_threads, "\n");
  absl::StrAppend(&content, ChecksumOf(config), "\n");
  for (const auto& [name, file] : files.bytes) {
    const auto recorded = config.sha256.find(name);
    absl::StrAppend(&content, name, " ",
                    recorded == config.sha256.end() ? Sha256OfBytes(file->bytes())
                                                    : recorded->second,
                    "\n");
  }
  return Sha256OfBytes(content);
}

absl::StatusOr<Parts> LoadParts(const std::string& directory, const LoadOptions& options) {
  const auto path = [&directory](const char* file) { return absl::StrCat(directory, "/", file); };
  Parts parts;
  LEAPSTREAM_ASSIGN_OR_RETURN(parts.device.name, ParseDevice(options.device));
  parts.device.threads = options.intra_op_threads;
  LEAPSTREAM_ASSIGN_OR_RETURN(parts.config, ReadModelDirectory(directory, &parts.files));
  ModelConfig& config = parts.config;
  if (!options.compute_type.empty()) config.compute_type = options.compute_type;
  if (!options.state_type.empty()) config.state_type = options.state_type;
  LEAPSTREAM_ASSIGN_OR_RETURN(parts.compute_type,
                              ParseComputeType(config.compute_type, parts.device));
  if (config.state_type != "float32" && config.state_type != "float16") {
    return absl::InvalidArgumentError(absl::StrCat(
        "state_type needs to be float32 or float16, got ", Quoted(config.state_type)));
  }
  LEAPSTREAM_RETURN_IF_ERROR(ParseActivation(config.activation_fn).status());
  if (!parts.device.name.empty()) LEAPSTREAM_RETURN_IF_ERROR(CheckTorchComputes(config));
  const ModelFamily& family = FamilyOf(config);
  Model* const model = parts.model.get();
  if (family.has_source_vocabulary) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view dictionary,
                                BytesOf(kSourceDictionaryFile, directory, &parts.files));
    LEAPSTREAM_ASSIGN_OR_RETURN(model->source_vocabulary,
                                Vocabulary::Parse(dictionary, path(kSourceDictionaryFile)));
    LEAPSTREAM_RETURN_IF_ERROR(CheckVocabulary(
        model->source_vocabulary, path(kSourceDictionaryFile), config.SourceVocabularySize()));
    LEAPSTREAM_ASSIGN_OR_RETURN(
        model->source_tokenizer,
        LoadTokenizer(config, ModelSide::kSource, directory, &parts.files));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view dictionary,
                              BytesOf(kTargetDictionaryFile, directory, &parts.files));
  if (family.has_source_vocabulary && dictionary == parts.files.bytes[kSourceDictionaryFile]->bytes()) {
    model->target_vocabulary = model->source_vocabulary;  // A joined dictionary is there once.
  } else {
    LEAPSTREAM_ASSIGN_OR_RETURN(model->target_vocabulary,
                                Vocabulary::Parse(dictionary, path(kTargetDictionaryFile)));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckVocabulary(model->target_vocabulary, path(kTargetDictionaryFile),
                                             config.decoder.vocabulary_size));
  LEAPSTREAM_ASSIGN_OR_RETURN(model->target_tokenizer,
                              LoadTokenizer(config, ModelSide::kTarget, directory, &parts.files));
  model->content = ContentOf(parts.files, config, options);
  std::vector<SidePieces> sides;
  if (family.has_source_vocabulary) {
    sides.push_back({"source", &model->source_vocabulary, model->source_tokenizer.get(),
                     path(kSourceDictionaryFile),
                     path(PiecesFile(config, ModelSide::kSource).c_str())});
  }
  sides.push_back({"target", &model->target_vocabulary, model->target_tokenizer.get(),
                   path(kTargetDictionaryFile),
                   path(PiecesFile(config, ModelSide::kTarget).c_str())});
  LEAPSTREAM_ASSIGN_OR_RETURN(model->notes, CheckPieces(sides));
  model->target_tokenizer = FilterTarget(config, std::move(model->target_tokenizer));
  model->feeds_back_symbols = family.has_source_vocabulary && config.simul_type != "none" &&
                              model->target_vocabulary.has_repeats();
  ModelInfo& info = model->info;
  info.name = options.name.empty() ? config.name : options.name;
  info.license = config.license;
  info.origin = config.origin;
  info.checksum = ChecksumOf(config);
  info.compute_type = config.compute_type;
  info.state_type = config.state_type;
  info.device = options.device;
  info.learned_policy = config.LearnedPolicy();
  info.generates = config.language_model.has_value();
  info.translates = !info.generates || !config.source_language.empty();
  info.trained_text_tokens = info.generates ? config.max_target_positions : 0;
  // Layers that share their past do not have it computed anew. Networks that decide together show
  // no attention.
  info.bidirectional_encoder = !config.causal_encoder && !config.LearnedPolicy() &&
                               config.decoder.shared_layers.empty();
  info.shows_attention = config.ensemble == 1 && config.ShowsAttention();
  info.alignment_frames = config.alignment_frames;
  info.adaptive_thresholds = config.adaptive_thresholds;
  info.default_k = config.waitk_lagging;
  info.max_k = std::max(info.max_k, config.waitk_lagging);
  if (config.speech.has_value()) info.speech = config.speech->input;
  info.max_source_tokens = family.max_source_tokens(config);
  // The step that decides </s> needs a position, too.
  info.max_target_tokens = config.decoder.max_positions > 0 ? config.decoder.max_positions - 1 : 0;
  LEAPSTREAM_RETURN_IF_ERROR(AddLanguages(config, path(kModelJson), model));
  return parts;
}

// Reads all weights and checks their SHA-256: somebody who loads a model again learns that its
// files are damaged, even if they say that they are what is loaded.
absl::Status CheckWeights(const Parts& parts) {
  for (int member = 1; member <= parts.config.ensemble; ++member) {
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckWeightsFile(parts.config, member, *parts.files.weights[member - 1]));
  }
  return absl::OkStatus();
}

// The translator of a file of packed weights, if there is one that can be trusted; else null.
std::unique_ptr<const Translator> OpenPacked(const std::string& path, const PackedKey& key,
                                             int member, const Parts& parts) {
  absl::StatusOr<PackedFile> packed = OpenPackedFile(path, key);
  if (!packed.ok()) return nullptr;
  // The weights themselves are read only if they might have been changed since.
  const FileReader& weights = *parts.files.weights[member - 1];
  if (packed->stamp != weights.Stamp() && !CheckWeightsFile(parts.config, member, weights).ok()) {
    return nullptr;
  }
  auto translator = MakeTranslator(
      parts.config, Weights::Packed(std::move(packed->memory), parts.compute_type), parts.device);
  return translator.ok() ? *std::move(translator) : nullptr;
}

// Makes the translator of network `member` (from 1). With leapstream's own kernels, that of a large
// model is made of packed weights, which lie in a file beside the weights; the file is written if
// it is not there.
absl::StatusOr<std::unique_ptr<const Translator>> LoadMember(int member,
                                                             const std::string& directory,
                                                             const LoadOptions& options,
                                                             Parts* parts) {
  const std::shared_ptr<const FileReader> weights_file = parts->files.weights[member - 1];
  std::string of = Sha256OfBytes(parts->files.bytes.at(kModelJson)->bytes());
  if (member > 1) of = Sha256OfBytes(absl::StrCat(of, "\n", member));
  const PackedKey key = {of, parts->config.compute_type, Simd().name};
  std::string path = PackedPath(directory, key);
  if (member > 1) absl::StrAppend(&path, ".", member);
  const bool large =
      weights_file->size() >= options.packed_from_bytes && parts->device.name.empty();
  if (large) {
    if (auto translator = OpenPacked(path, key, member, *parts)) return translator;
  }
  const std::string stamp = weights_file->Stamp();
  LEAPSTREAM_RETURN_IF_ERROR(CheckWeightsFile(parts->config, member, *weights_file));
  LEAPSTREAM_ASSIGN_OR_RETURN(Weights weights, Weights::Parse(weights_file, parts->compute_type));
  const std::shared_ptr<const PackedMemory> packed = weights.packed();
  std::unique_ptr<const Translator> translator;
  LEAPSTREAM_ASSIGN_OR_RETURN(translator,
                              MakeTranslator(parts->config, std::move(weights), parts->device));
  if (weights_file->Stamp() != stamp) {
    return absl::FailedPreconditionError(absl::StrCat(
        weights_file->path(), ": it was changed while it was loaded; load it again"));
  }
  if (!large) return translator;
  if (absl::Status written = WritePackedFile(path, key, stamp, *packed); !written.ok()) {
    parts->model->notes.push_back(
        absl::StrCat("the packed weights cannot be kept, so each start packs them again, and "
                     "processes do not share them: ",
                     written.message()));
    return translator;
  }
  auto shared = OpenPacked(path, key, member, *parts);
  return shared != nullptr ? std::move(shared) : std::move(translator);
}

absl::StatusOr<std::unique_ptr<const Translator>> LoadTranslator(const std::string& directory,
                                                                 const LoadOptions& options,
                                                                 Parts* parts) {
  if (parts->config.ensemble == 1) return LoadMember(1, directory, options, parts);
  std::vector<std::unique_ptr<const Translator>> members(parts->config.ensemble);
  for (int member = 1; member <= parts->config.ensemble; ++member) {
    LEAPSTREAM_ASSIGN_OR_RETURN(members[member - 1],
                                LoadMember(member, directory, options, parts));
  }
  return std::make_unique<Ensemble>(std::move(members), parts->config.decoder.vocabulary_size);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const std::string& directory,
                                                       const LoadOptions& options) {
  Parts parts;
  LEAPSTREAM_ASSIGN_OR_RETURN(parts, LoadParts(directory, options));
  for (const auto& loaded : options.loaded) {
    if (loaded->content != parts.model->content) continue;
    LEAPSTREAM_RETURN_IF_ERROR(CheckWeights(parts));
    return loaded;
  }
  Model* const model = parts.model.get();
  LEAPSTREAM_RETURN_IF_ERROR(
      ModelCall(absl::StrCat("loading ", directory), 1, [&]() -> absl::Status {
        LEAPSTREAM_ASSIGN_OR_RETURN(model->translator, LoadTranslator(directory, options, &parts));
        return MeasureState(*model->translator, &model->info);
      }));
  return std::shared_ptr<const Model>(std::move(parts.model));
}

absl::Status CheckModel(const std::string& directory, const LoadOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const Parts parts, LoadParts(directory, options));
  return CheckWeights(parts);
}

}  // namespace leapstream
