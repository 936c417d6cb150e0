#ifndef LEAPSTREAM_MODEL_API_MODEL_H_
#define LEAPSTREAM_MODEL_API_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/frame.h"
#include "model/api/languages.h"
#include "model/api/model_config.h"
#include "model/api/speech.h"
#include "model/api/tokenizer.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The facts that clients are told of a model, and the limits of its sessions.
struct ModelInfo {
  std::string name;
  // The languages. If the model translates many pairs, those of a session that asks for none; then
  // they may be empty.
  std::string source_language;
  std::string target_language;
  // The model's own codes of the languages that it translates from and to, each to each. Empty: it
  // translates the one pair above.
  std::vector<std::string> source_languages;
  std::vector<std::string> target_languages;
  std::string license;   // See ModelConfig.
  std::string origin;
  std::string checksum;  // Hex SHA-256 of the weights file.
  std::string compute_type;
  std::string state_type;  // Of states that are sums; see LoadOptions.
  std::string device = "cpu";  // The device that computes and holds the states; see LoadOptions.
  // Set if the model takes speech: then source tokens are encoder states, and there is no source
  // vocabulary.
  std::optional<SpeechInput> speech;
  // The model goes on with texts: Translator::language_model() is not null.
  bool generates = false;
  // The model translates. If it generates, too, it reads the whole source of a segment first.
  bool translates = true;
  // The tokens of a text, </s> in front included, that a model that generates was trained for, and
  // that fairseq's tools keep to. Not a limit of the network; 0: it does not generate.
  int trained_text_tokens = 0;
  // The model itself decides when to READ, so that it cannot run wait-k.
  bool learned_policy = false;
  // The encoder encodes the whole source anew after each READ, so that the decoder's past can be
  // refreshed and a prefix can have an end.
  bool bidirectional_encoder = false;
  // SessionState::ShowAttention() has an effect.
  bool shows_attention = false;
  int alignment_frames = 0;  // These two: see ModelConfig.
  std::vector<float> adaptive_thresholds;
  int default_k = 3;  // 0: a session that asks for nothing reads the whole segment first.
  int min_k = 1;
  int max_k = 1000;
  int max_source_tokens = 0;  // The most of a segment, </s> included; 0: no limit.
  int max_target_tokens = 0;  // The most of a segment, </s> not included; 0: no limit.
  // The bytes of a session's state at a segment's start.
  int64_t state_bytes_per_session = 0;
  // The bytes that one source and one target token add to it together, to within a block.
  int64_t state_bytes_per_token = 0;

  bool is_multilingual() const { return !target_languages.empty(); }
};

// A translator, with the vocabularies and tokenizers that turn text into its tokens and back.
// Complete models are immutable and thread-safe; shared by the sessions it serves.
struct Model {
  ModelInfo info;
  std::unique_ptr<const Translator> translator;
  Vocabulary source_vocabulary;  // Empty for speech.
  Vocabulary target_vocabulary;
  std::unique_ptr<const Tokenizer> source_tokenizer;  // Null for speech.
  std::unique_ptr<const Tokenizer> target_tokenizer;
  FrameConfig frame;
  std::vector<LanguageConfig> languages;  // See ModelConfig.
  FrameTokens source_frame_tokens;        // Of source_vocabulary.
  FrameTokens target_frame_tokens;        // Of target_vocabulary.
  // A hash of all that the model was made of: the files' bytes and the options. Two models with the
  // same hash are the same. Empty: the model was not loaded from files.
  std::string content;
  // fairseq's text agent keeps its output as symbols, not as ids. If several ids have one symbol,
  // the decoder is therefore fed the last of these ids, whichever was decided. True: sessions do
  // the same. It is true only if the target vocabulary has repeated symbols.
  bool feeds_back_symbols = false;
  std::vector<std::string> notes;  // Warnings for the server's operator; see CheckPieces().

  // Takes the frame and the languages of `config`, which must have passed CheckModelFields(), for
  // the vocabularies that are there. Errors: those of ResolveFrame(), for any language.
  absl::Status SetLanguages(const ModelConfig& config);
  // The frame of a session of this pair, by the model's own codes; an empty code is that of `info`.
  // INVALID_ARGUMENT: the model has no such language.
  absl::StatusOr<Frame> FrameOf(const LanguagePair& pair) const;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_H_
