#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_CONFIG_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_CONFIG_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/huggingface/json_file.h"

namespace leapstream {

// A family of networks that transformers computes; its name is the model_type of config.json.
enum class FolderFamily { kM2m100, kMbart, kMarian, kFsmt };

// The classes of tokenizers of these families, without the suffix Fast.
enum class FolderTokenizer { kM2m100, kNllb, kMbart, kMbart50, kMarian, kFsmt };

// A token that tokenizer_config.json or added_tokens.json puts beside the vocabulary.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
};

// The contents of the JSON files of a folder, which say what its tensors and its vocabulary mean.
struct FolderConfig {
  FolderFamily family = FolderFamily::kM2m100;
  // The network: sizes, norms, positions, activation. The vocabularies' sizes are 0 or as
  // config.json has them; output_bias is not set. The settings, as text, are in fairseq_options.
  ModelConfig network;
  bool shares_embeddings = true;  // One embedding for both sides.
  bool ties_output = true;        // The output projection is the decoder's embedding.
  TokenId pad = 1, end = 2;
  std::optional<TokenId> start;             // decoder_start_token_id.
  std::optional<TokenId> forced;            // forced_bos_token_id.
  std::vector<TokenId> banned;              // bad_words_ids, but for the end.
  std::optional<FolderTokenizer> tokenizer;  // Not set: no file names a class.
  bool legacy_behaviour = false;            // NLLB: the source's language stands at its end.
  bool separate_vocabularies = false;       // Marian.
  bool wmt21 = false;                       // M2M100Tokenizer has the languages of wmt21.
  bool cleans_up = false;                   // clean_up_tokenization_spaces.
  std::string source_language;              // source_lang, or FSMT's langs; may be empty.
  std::string target_language;
  std::vector<AddedToken> added;
  std::string origin;  // The name of the folder on the hub, as far as config.json has it.
};

// The parsed JSON files. Absent files are empty objects.
struct FolderFiles {
  Json config;
  Json generation;  // generation_config.json; if it is absent, the config's object.
  Json tokenizer;   // tokenizer_config.json.
  Json added;       // added_tokens.json.
  Json special;     // special_tokens_map.json.
};

// Reads the JSON files of a folder. Errors: those of ReadJsonFile(). NOT_FOUND: there is no
// config.json.
absl::StatusOr<FolderFiles> ReadFolderFiles(const std::string& directory);

// Reads the folder's settings from its files. INVALID_ARGUMENT: a value is missing, of the wrong
// type or contradicts another one. UNIMPLEMENTED: the folder asks for something that leapstream
// does not compute; the message names the key and the value.
absl::StatusOr<FolderConfig> ReadFolderConfig(const FolderFiles& files);

// The name of a family: its model_type.
const char* FamilyName(FolderFamily family);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_CONFIG_H_
