#include "model/huggingface/folder_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr int kMaxSize = 1 << 24;
// Marian's positions are a table that is computed, so that no tensor of the file limits them.
constexpr int kMaxMarianPositions = 1 << 15;
constexpr size_t kMaxEntries = 4096;  // Of a list whose entries are compared with each other.
constexpr char kConfig[] = "config.json";
constexpr char kGeneration[] = "generation_config.json";
constexpr char kTokenizerConfig[] = "tokenizer_config.json";
constexpr char kAddedTokens[] = "added_tokens.json";

// The parts of a family that no key of config.json changes, and the defaults of those that one
// does: transformers leaves out keys that have their default.
struct FamilyRow {
  FolderFamily family;
  const char* name;
  bool norm_before;     // Norms stand before the blocks, and one after the last layer.
  bool norm_embedding;  // A norm follows the sum of embedding and position.
  bool static_positions;
  const char* activation;
  bool scales;  // scale_embedding.
};
constexpr FamilyRow kFamilies[] = {
    {FolderFamily::kM2m100, "m2m_100", true, false, true, "relu", true},
    {FolderFamily::kMbart, "mbart", true, true, false, "gelu", false},
    {FolderFamily::kMarian, "marian", false, false, true, "gelu", false},
    {FolderFamily::kFsmt, "fsmt", false, false, true, "relu", true}};

struct TokenizerRow {
  FolderTokenizer tokenizer;
  const char* name;
  FolderFamily family;
};
constexpr TokenizerRow kTokenizers[] = {
    {FolderTokenizer::kM2m100, "M2M100Tokenizer", FolderFamily::kM2m100},
    {FolderTokenizer::kNllb, "NllbTokenizer", FolderFamily::kM2m100},
    {FolderTokenizer::kMbart, "MBartTokenizer", FolderFamily::kMbart},
    {FolderTokenizer::kMbart50, "MBart50Tokenizer", FolderFamily::kMbart},
    {FolderTokenizer::kMarian, "MarianTokenizer", FolderFamily::kMarian},
    {FolderTokenizer::kFsmt, "FSMTTokenizer", FolderFamily::kFsmt}};

// Settings of generation that change the result of a greedy search or of a beam search in ways that
// leapstream does not follow, and the greatest value that changes nothing. Absent, null, false and
// empty values change nothing either.
constexpr std::pair<const char*, double> kUnservedGeneration[] = {
    {"suppress_tokens", 0},
    {"begin_suppress_tokens", 0},
    {"repetition_penalty", 1},
    {"encoder_repetition_penalty", 1},
    {"no_repeat_ngram_size", 0},
    {"encoder_no_repeat_ngram_size", 0},
    {"num_beam_groups", 1},
    {"diversity_penalty", 0},
    {"do_sample", 0},
    {"min_length", 1},  // The first token of the decoder counts.
    {"min_new_tokens", 0},
    {"forced_decoder_ids", 0},
    {"force_words_ids", 0},
    {"sequence_bias", 0},
    {"exponential_decay_length_penalty", 0}};

absl::Status Unserved(absl::string_view file, absl::string_view key, const Json& value,
                      absl::string_view remedy) {
  return absl::UnimplementedError(
      absl::StrCat(file, ": ", key, " ", JsonText(value), " is not served; ", remedy));
}

absl::Status CheckEntries(absl::string_view file, absl::string_view key, size_t size) {
  if (size <= kMaxEntries) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", key, " needs to have ", kMaxEntries,
                                                 " entries at most, got ", size,
                                                 "; fetch the file again"));
}

bool ChangesNothing(const Json& value, double neutral) {
  if (value.is_null() || (value.is_structured() && value.empty())) return true;
  if (value.is_boolean()) return !value.get<bool>();
  if (!value.is_number()) return false;
  const auto number = value.get<double>();
  return neutral == 1 && value.is_number_integer() ? number <= 1 : number == neutral;
}

absl::StatusOr<const FamilyRow*> FindFamily(const JsonKeys& keys) {
  const Json& type = keys.Value("model_type");
  if (type.is_string()) {
    for (const FamilyRow& row : kFamilies) {
      if (type == row.name) return &row;
    }
  }
  return Unserved(kConfig, "model_type", type,
                  "leapstream serves m2m_100 (M2M-100, NLLB-200), mbart, marian (OPUS-MT) and fsmt");
}

// Refuses folders whose config.json asks for another computation than its model_type's.
absl::Status CheckComputation(const FamilyRow& row, JsonKeys& keys) {
  const auto refuse = [&](const char* key, absl::string_view remedy) {
    return Unserved(kConfig, key, keys.Value(key), remedy);
  };
  if (!keys.Bool("is_encoder_decoder", true)) {
    return refuse("is_encoder_decoder", "leapstream serves encoders with a decoder");
  }
  if (keys.Bool("tie_encoder_decoder", false)) {
    return refuse("tie_encoder_decoder", "sides that share all layers are not computed");
  }
  if (keys.Has("quantization_config")) {
    return refuse("quantization_config",
                  "fetch the model as it was before quantisation; leapstream quantises by itself "
                  "(compute_type int8)");
  }
  if (keys.Has("auto_map")) return refuse("auto_map", "the folder brings code of its own");
  if (keys.Has("num_experts")) return refuse("num_experts", "mixtures of experts are not computed");
  // Every version since 2020 ignores these keys, which say what model_type says.
  const bool fixed_positions = row.static_positions;
  const std::pair<const char*, bool> ignored[] = {{"normalize_before", row.norm_before},
                                                  {"add_final_layer_norm", row.norm_before},
                                                  {"normalize_embedding", row.norm_embedding},
                                                  {"static_position_embeddings", fixed_positions},
                                                  {"add_bias_logits", false}};
  for (const auto& [key, value] : ignored) {
    if (keys.Bool(key, value) == value) continue;
    return refuse(key, absl::StrCat("a model_type ", row.name, " always computes with ",
                                    value ? "true" : "false"));
  }
  if (!row.static_positions && keys.Int("extra_pos_embeddings", 2, 0, kMaxSize) != 2) {
    return refuse("extra_pos_embeddings", "the table of positions always has 2 extra rows");
  }
  return absl::OkStatus();
}

absl::Status ReadNetwork(const FamilyRow& row, JsonKeys& keys, FolderConfig* config) {
  ModelConfig& network = config->network;
  network.architecture = row.name;
  network.causal_encoder = false;
  const int width = keys.Int("d_model", 1024, 2, 1 << 15);
  if (width % 2 != 0) {
    return Unserved(kConfig, "d_model", keys.Value("d_model"), "it needs to be even");
  }
  const int positions =
      keys.Int("max_position_embeddings", 1024, 2,
               row.family == FolderFamily::kMarian ? kMaxMarianPositions : kMaxSize);
  const bool fsmt = row.family == FolderFamily::kFsmt;
  const int rows = fsmt ? 0 : keys.Int("vocab_size", 0, 0, kMaxSize);
  network.encoder.vocabulary_size = fsmt ? keys.Int("src_vocab_size", 0, 0, kMaxSize) : rows;
  network.decoder.vocabulary_size =
      fsmt                                    ? keys.Int("tgt_vocab_size", 0, 0, kMaxSize)
      : row.family == FolderFamily::kMarian ? keys.Int("decoder_vocab_size", rows, 0, kMaxSize)
                                              : rows;
  for (const bool encoder : {true, false}) {
    const std::string name = encoder ? "encoder" : "decoder";
    SideConfig& side = encoder ? network.encoder : network.decoder;
    side.embed_dim = side.input_dim = side.output_dim = width;
    side.layers = keys.Int((name + "_layers").c_str(), 12, 1, 256);
    side.ffn_embed_dim = keys.Int((name + "_ffn_dim").c_str(), 4096, 1, 1 << 18);
    side.attention_heads = keys.Int((name + "_attention_heads").c_str(), 16, 1, 1024);
    side.normalize_before = side.final_norm = row.norm_before;
    side.layernorm_embedding = row.norm_embedding;
    // Marian's table begins with the first position and has other frequencies than fairseq's, and
    // nothing lies beyond it. So it is served as a learned one.
    const bool table = !row.static_positions || row.family == FolderFamily::kMarian;
    side.positions = table ? PositionKind::kLearned : PositionKind::kSinusoidal;
    side.max_positions = table ? positions : 0;
  }
  network.max_source_positions = network.max_target_positions = positions;
  network.scale_embedding = keys.Bool("scale_embedding", row.scales);
  network.activation_fn = keys.Text("activation_function", row.activation);
  if (network.activation_fn == "silu") network.activation_fn = "swish";
  if (network.activation_fn != "relu" && network.activation_fn != "gelu" &&
      network.activation_fn != "swish") {
    return Unserved(kConfig, "activation_function", keys.Value("activation_function"),
                    "it needs to be relu, gelu, swish or silu");
  }
  config->shares_embeddings =
      row.family == FolderFamily::kMarian ? keys.Bool("share_encoder_decoder_embeddings", true)
                                          : !fsmt;
  // fsmt's output is the decoder's embedding, whatever the key says.
  config->ties_output = fsmt || keys.Bool("tie_word_embeddings", true);
  network.share_all_embeddings = config->shares_embeddings;
  network.share_decoder_input_output_embed = config->shares_embeddings || config->ties_output;
  return keys.status();
}

// Reads a list of banned tokens. Each entry is a list of one id; the end cannot be banned.
absl::Status ReadBanned(const JsonKeys& keys, FolderConfig* config) {
  const Json& words = keys.Value("bad_words_ids");
  if (words.is_null()) return absl::OkStatus();
  const auto refuse = [&] {
    return Unserved(keys.name(), "bad_words_ids", words, "each entry needs to be a list of one id");
  };
  if (!words.is_array()) return refuse();
  LEAPSTREAM_RETURN_IF_ERROR(CheckEntries(keys.name(), "bad_words_ids", words.size()));
  for (const Json& word : words) {
    if (!word.is_array() || word.size() != 1 || !word[0].is_number_unsigned() ||
        word[0].get<uint64_t>() >= kMaxSize) {
      return refuse();
    }
    const auto id = word[0].get<TokenId>();
    if (id != config->end) config->banned.push_back(id);
  }
  return absl::OkStatus();
}

absl::Status ReadGeneration(const FolderFiles& files, JsonKeys& config_keys, FolderConfig* config) {
  JsonKeys keys(files.generation, files.generation == files.config ? kConfig : kGeneration);
  for (const auto& [key, neutral] : kUnservedGeneration) {
    if (ChangesNothing(keys.Value(key), neutral)) continue;
    return Unserved(keys.name(), key, keys.Value(key),
                    "it changes what is generated; remove the key to export the model without it");
  }
  const auto id = [&](const char* key) -> std::optional<TokenId> {
    JsonKeys& from = keys.Has(key) ? keys : config_keys;
    if (!from.Has(key)) return std::nullopt;
    return from.Int(key, 0, 0, kMaxSize);
  };
  const bool marian = config->family == FolderFamily::kMarian;
  // The network was built with the padding of config.json.
  config->pad = config_keys.Has("pad_token_id")
                    ? config_keys.Int("pad_token_id", 0, 0, kMaxSize)
                    : id("pad_token_id").value_or(marian ? 58100 : 1);
  config->start = id("decoder_start_token_id");
  config->forced = id("forced_bos_token_id");
  const Json& end = (keys.Has("eos_token_id") ? keys : config_keys).Value("eos_token_id");
  if (end.is_array() && end.size() != 1) {
    return Unserved(keys.name(), "eos_token_id", end, "a translation ends with one token");
  }
  const Json wrapped = {{"eos_token_id", end.is_array() ? end[0] : end}};
  JsonKeys one(wrapped, keys.name());
  config->end = one.Int("eos_token_id", marian ? 0 : 2, 0, kMaxSize);
  LEAPSTREAM_RETURN_IF_ERROR(one.status());
  LEAPSTREAM_RETURN_IF_ERROR(ReadBanned(keys, config));
  LEAPSTREAM_RETURN_IF_ERROR(keys.status());
  LEAPSTREAM_RETURN_IF_ERROR(config_keys.status());
  if (marian) return absl::OkStatus();
  const int begin = config_keys.Int("bos_token_id", 0, 0, kMaxSize);
  if (config->pad == 1 && config->end == 2 && begin == 0) return absl::OkStatus();
  return Unserved(kConfig, "bos_token_id, pad_token_id and eos_token_id",
                  Json{begin, config->pad, config->end},
                  "models of this kind have <s> 0, <pad> 1 and </s> 2");
}

// Reads the tokens that the tokenizer's files put beside the vocabulary.
absl::Status ReadAdded(const FolderFiles& files, FolderConfig* config) {
  const auto bad = [](const char* file, absl::string_view key) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": an added token needs an id and a text, got ", Quoted(key),
        "; fetch the file again"));
  };
  std::vector<std::string> specials;
  for (const auto& [object, name] : {std::pair(&files.tokenizer, kTokenizerConfig),
                                     std::pair(&files.special, "special_tokens_map.json")}) {
    // Entries may also be objects, which added_tokens_decoder has as well.
    const auto found = object->find("additional_special_tokens");
    if (found == object->end() || !found->is_array()) continue;
    for (const Json& token : *found) {
      if (token.is_string()) specials.push_back(token.get<std::string>());
    }
  }
  std::sort(specials.begin(), specials.end());
  const auto decoder = files.tokenizer.find("added_tokens_decoder");
  if (decoder != files.tokenizer.end() && decoder->is_object()) {
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckEntries(kTokenizerConfig, "added_tokens_decoder", decoder->size()));
    for (const auto& [key, value] : decoder->items()) {
      AddedToken token;
      const Json* const content = value.is_object() && value.contains("content")
                                      ? &value["content"] : nullptr;
      if (content == nullptr || !content->is_string() || !absl::SimpleAtoi(key, &token.id) ||
          token.id < 0 || token.id >= kMaxSize) {
        return bad(kTokenizerConfig, key);
      }
      token.content = content->get<std::string>();
      token.special = value.contains("special") && value["special"] == true;
      config->added.push_back(std::move(token));
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckEntries(kAddedTokens, "the object", files.added.size()));
  for (const auto& [key, value] : files.added.items()) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= kMaxSize) {
      return bad(kAddedTokens, key);
    }
    const bool special = std::binary_search(specials.begin(), specials.end(), key) ||
                         key == "<mask>";
    const AddedToken token = {value.get<TokenId>(), key, special};
    const auto same = [&](const AddedToken& other) {
      return other.id == token.id && other.content == token.content;
    };
    if (std::none_of(config->added.begin(), config->added.end(), same)) {
      config->added.push_back(token);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizer(const FolderFiles& files, JsonKeys& config_keys, FolderConfig* config) {
  JsonKeys keys(files.tokenizer, kTokenizerConfig);
  std::string name = keys.Text("tokenizer_class", config_keys.Text("tokenizer_class", ""));
  const std::string given = name;
  name = std::string(absl::StripSuffix(name, "Fast"));
  for (const TokenizerRow& row : kTokenizers) {
    if (name == row.name && row.family == config->family) config->tokenizer = row.tokenizer;
  }
  if (!given.empty() && !config->tokenizer.has_value()) {
    return Unserved(kTokenizerConfig, "tokenizer_class", given,
                    absl::StrCat("a model of type ", FamilyName(config->family),
                                 " has another tokenizer"));
  }
  config->legacy_behaviour = keys.Bool("legacy_behaviour", false);
  config->separate_vocabularies = keys.Bool("separate_vocabs", false);
  const std::string codes = keys.Text("language_codes", "m2m100");
  if (codes != "m2m100" && codes != "wmt21") {
    return Unserved(kTokenizerConfig, "language_codes", codes, "it needs to be m2m100 or wmt21");
  }
  config->wmt21 = codes == "wmt21";
  config->cleans_up = keys.Bool("clean_up_tokenization_spaces", false);
  if (keys.Bool("do_lower_case", false)) {
    return Unserved(kTokenizerConfig, "do_lower_case", true,
                    "text is not lower-cased before it is cut into pieces");
  }
  const Json& sampling = keys.Value("sp_model_kwargs");
  if (!sampling.is_null() && !sampling.empty()) {
    return Unserved(kTokenizerConfig, "sp_model_kwargs", sampling,
                    "a word's pieces are the best ones, and not drawn by chance; remove the key to "
                    "export the model with these");
  }
  if (config->family == FolderFamily::kFsmt) {
    std::vector<std::string> languages = keys.Texts("langs");
    if (languages.empty()) languages = config_keys.Texts("langs");
    if (languages.empty()) languages = {"en", "de"};
    if (languages.size() != 2) {
      return Unserved(kTokenizerConfig, "langs", languages, "it needs two languages");
    }
    config->source_language = languages[0];
    config->target_language = languages[1];
  } else if (config->family == FolderFamily::kMarian) {
    config->source_language = keys.Text("source_lang", "");
    config->target_language = keys.Text("target_lang", "");
  }
  LEAPSTREAM_RETURN_IF_ERROR(keys.status());
  return ReadAdded(files, config);
}

// Keeps the settings of the two files as text, for people. Paths are left out.
void KeepSettings(const FolderFiles& files, ModelConfig* network) {
  for (const Json* object : {&files.config, &files.generation}) {
    for (const auto& [key, value] : object->items()) {
      if (value.is_null() || value.is_structured() || key.size() > 100) continue;
      const std::string text = value.is_string() ? value.get<std::string>() : JsonText(value);
      if (text.size() > 100 || absl::StrContains(text, "/")) continue;
      network->fairseq_options[key] = text;
    }
  }
}

}  // namespace

const char* FamilyName(FolderFamily family) {
  for (const FamilyRow& row : kFamilies) {
    if (row.family == family) return row.name;
  }
  return "";
}

absl::StatusOr<FolderFiles> ReadFolderFiles(const std::string& directory) {
  FolderFiles files;
  LEAPSTREAM_ASSIGN_OR_RETURN(files.config, ReadJsonFile(directory, kConfig));
  absl::StatusOr<Json> generation = ReadJsonFile(directory, kGeneration);
  if (!generation.ok() && !absl::IsNotFound(generation.status())) return generation.status();
  files.generation = generation.ok() ? *std::move(generation) : files.config;
  LEAPSTREAM_ASSIGN_OR_RETURN(files.tokenizer, ReadJsonFileIfThere(directory, kTokenizerConfig));
  LEAPSTREAM_ASSIGN_OR_RETURN(files.added, ReadJsonFileIfThere(directory, kAddedTokens));
  LEAPSTREAM_ASSIGN_OR_RETURN(files.special,
                              ReadJsonFileIfThere(directory, "special_tokens_map.json"));
  return files;
}

absl::StatusOr<FolderConfig> ReadFolderConfig(const FolderFiles& files) {
  JsonKeys keys(files.config, kConfig);
  LEAPSTREAM_ASSIGN_OR_RETURN(const FamilyRow* const row, FindFamily(keys));
  FolderConfig config;
  config.family = row->family;
  LEAPSTREAM_RETURN_IF_ERROR(CheckComputation(*row, keys));
  LEAPSTREAM_RETURN_IF_ERROR(ReadNetwork(*row, keys, &config));
  LEAPSTREAM_RETURN_IF_ERROR(ReadGeneration(files, keys, &config));
  LEAPSTREAM_RETURN_IF_ERROR(ReadTokenizer(files, keys, &config));
  LEAPSTREAM_RETURN_IF_ERROR(keys.status());
  const std::string name = keys.Text("_name_or_path", "");
  const size_t slash = name.find('/');
  const bool hub = slash != 0 && slash != name.npos && name.find('/', slash + 1) == name.npos &&
                   name[0] != '.' && name.size() <= 200;
  if (hub) config.origin = name;
  KeepSettings(files, &config.network);
  return config;
}

}  // namespace leapstream
