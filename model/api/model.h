#ifndef LEAPSTREAM_MODEL_API_MODEL_H_
#define LEAPSTREAM_MODEL_API_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/api/speech.h"
#include "model/api/tokenizer.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The facts that clients are told of a model, and the limits of its sessions.
struct ModelInfo {
  std::string name;
  std::string source_language;
  std::string target_language;
  std::string checksum;  // Hex SHA-256 of the weights file.
  std::string compute_type;
  std::string device = "cpu";  // It computes, and has the states; see LoadOptions.
  // It takes speech: source tokens are encoder states, and there is no source vocabulary.
  std::optional<SpeechInput> speech;
  // The model decides when to READ; wait-k is not for it.
  bool learned_policy = false;
  int default_k = 3;  // 0: a session that asks for nothing reads the whole segment first.
  int min_k = 1;
  int max_k = 1000;
  int max_source_tokens = 0;  // Positions that the model has, </s> included; 0: no limit.
  int max_target_tokens = 0;  // The same for target tokens, </s> not included; 0: no limit.
  int64_t state_bytes_per_session = 0;  // At a segment's start.
  int64_t state_bytes_per_token = 0;    // Added by a source and a target token, to within a block.
};

// A translator with all that turns text into its tokens and back. Immutable and thread-safe; shared
// by the sessions it serves.
struct Model {
  ModelInfo info;
  std::unique_ptr<const Translator> translator;
  Vocabulary source_vocabulary;  // Empty for speech.
  Vocabulary target_vocabulary;
  std::unique_ptr<const Tokenizer> source_tokenizer;  // Null for speech.
  std::unique_ptr<const Tokenizer> target_tokenizer;
  // A hash of all that it was made of: the files' bytes and the options. Models of one content
  // are the same. Empty: it was not loaded.
  std::string content;
  // The reference's text agent keeps what it has written as symbols, so that a token which repeats
  // a symbol is fed back as the last one of that symbol. Only with a target vocabulary of repeats.
  bool feeds_back_symbols = false;
  std::vector<std::string> notes;  // Warnings for its operator; see CheckPieces().
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_H_
